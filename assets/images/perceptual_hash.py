"""Tell pictures that look the same, whatever their size, format and compression, from those that only resemble each other.

Two pictures look the same when their perceptual hashes differ in few bits *and* they nearly agree as 16 x 16 px: the hash, 64 signs of the lowest
frequencies of a cosine transform (pHash: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"), survives other
compression and size; the small pictures tell apart what has the same few shapes, such as flat grounds of two colours. Whole numbers throughout, so
that every machine finds the same. Cut, turned or mirrored copies are other pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy
from PIL import Image

Key = TypeVar("Key")

SMALL_PX = 16
_HASHED_PX = 32
_FREQUENCIES = 8
_UNIT = 1 << 16
# Cosines in whole numbers [frequency, pixel]. None of them lies near a half, so every machine rounds alike.
_COSINES = numpy.rint(
    _UNIT * numpy.cos(numpy.pi * numpy.arange(_FREQUENCIES)[:, None] * (2 * numpy.arange(_HASHED_PX) + 1) / (2 * _HASHED_PX))
).astype(numpy.int64)
# A wave of a quarter of a level is noise: coefficients of a pure wave are its height times (32 / 2)², in the unit of the cosines.
_NOISE = _UNIT**2 * (_HASHED_PX // 2) ** 2 // 4


@dataclass(frozen=True)
class Fingerprint:
    """hash: 64 bits. small: the picture as RGB of 16 x 16 px, 768 bytes."""

    hash: int
    small: bytes


def fingerprint(image: Image.Image) -> Fingerprint:
    """Of an RGB picture."""
    small = image.resize((SMALL_PX, SMALL_PX), Image.Resampling.BOX)
    grey = image.convert("L").resize((_HASHED_PX, _HASHED_PX), Image.Resampling.BOX)
    waves = (_COSINES @ numpy.asarray(grey, numpy.int64) @ _COSINES.T).ravel()
    # The mean brightness says nothing of shapes; of the other waves, half are above the middle. Of a flat picture none is.
    middle = numpy.sort(waves[1:])[31]
    bits = waves > middle + _NOISE
    bits[0] = False
    return Fingerprint(int.from_bytes(numpy.packbits(bits).tobytes()), small.tobytes())


class LookAlikes(Generic[Key]):
    """Pictures by their fingerprints, to be asked which of them look like another; exact, and 10,000 among 10,000 in a fraction of a second.

    max_bits: in which two hashes may differ. max_levels: root mean square difference of the small pictures, of 255.
    """

    def __init__(self, *, max_bits: int, max_levels: float) -> None:
        self._max_bits, self._max_levels = max_bits, max_levels
        self._keys: list[Key] = []
        self._hashes = numpy.empty(1_024, numpy.uint64)
        self._smalls = numpy.empty((1_024, 3 * SMALL_PX**2), numpy.uint8)

    def add(self, key: Key, print_: Fingerprint) -> None:
        count = len(self._keys)
        if count == len(self._hashes):
            self._hashes = numpy.concatenate([self._hashes, self._hashes])
            self._smalls = numpy.concatenate([self._smalls, self._smalls])
        self._hashes[count] = print_.hash
        self._smalls[count] = numpy.frombuffer(print_.small, numpy.uint8)
        self._keys.append(key)

    def like(self, print_: Fingerprint) -> Iterator[tuple[float, int, Key]]:
        """(levels, bits, key) of each picture that looks the same, in the order in which they were added."""
        count = len(self._keys)
        bits = numpy.bitwise_count(self._hashes[:count] ^ numpy.uint64(print_.hash))
        near = numpy.flatnonzero(bits <= self._max_bits)
        small = numpy.frombuffer(print_.small, numpy.uint8).astype(numpy.int32)
        squares = ((self._smalls[near] - small) ** 2).sum(axis=1)
        for place, square in zip(near.tolist(), squares.tolist(), strict=True):
            levels = (square / small.size) ** 0.5
            if levels <= self._max_levels:
                yield levels, int(bits[place]), self._keys[place]
