"""How near a made-up paper comes to real ones: titles by trigrams of characters, abstracts by runs of words, pictures by small grey versions."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy
import torch
from torch.nn import functional as F

from formats.image_shards import ImageShards
from training.metrics.images.neighbours import distance_blocks
from training.words.imaginary.filters import Why

_SIDE_PX = 16
_PICTURES_AT_ONCE = 256


def plain_words(text: str) -> list[str]:
    """Words and numbers without letter case, accents, styles and signs."""
    return re.findall(r"[^\W_]+", "".join(sign for sign in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(sign)))


class NearestTitle:
    """Finds, of one title or more, the one that has most trigrams in common: Dice's coefficient, 2 |A ∩ B| / (|A| + |B|), of words in blanks."""

    def __init__(self, titles: Sequence[str]) -> None:
        sets = [_trigrams(title) for title in titles]
        self._sizes = numpy.array([len(found) for found in sets], dtype=numpy.int64)
        keys = numpy.concatenate(sets)
        order = numpy.argsort(keys, kind="stable")
        self._keys, self._titles = keys[order], numpy.repeat(numpy.arange(len(sets), dtype=numpy.int32), self._sizes)[order]

    def __call__(self, title: str) -> tuple[int, float]:
        """(which, similarity in [0, 1])"""
        wanted = _trigrams(title)
        begins, ends = (numpy.searchsorted(self._keys, wanted, side=side) for side in ("left", "right"))
        hits = [self._titles[begin:end] for begin, end in zip(begins, ends, strict=True)]
        common = numpy.bincount(numpy.concatenate([*hits, numpy.empty(0, numpy.int32)]), minlength=len(self._sizes))
        similarity = 2 * common / numpy.maximum(1, self._sizes + len(wanted))
        return int(similarity.argmax()), float(similarity.max())


def _trigrams(text: str) -> numpy.ndarray:
    """uint64, sorted, each once. A code point has 21 bits, so three fit."""
    points = numpy.frombuffer(f" {' '.join(plain_words(text))} ".encode("utf-32-le"), dtype=numpy.uint32).astype(numpy.uint64)
    return numpy.unique((points[:-2] << numpy.uint64(42)) | (points[1:-1] << numpy.uint64(21)) | points[2:])


class CopiedRun:
    """Says which run of `length` words of a text, the first, stands word for word in one of `texts`."""

    def __init__(self, texts: Iterable[str], length: int) -> None:
        self._length = length
        self._numbers: dict[str, int] = {}
        runs = [self._runs([self._numbers.setdefault(word, len(self._numbers) + 1) for word in plain_words(text)]) for text in texts]
        self._known = numpy.unique(numpy.concatenate([*runs, numpy.empty(0, numpy.uint64)]))

    def __call__(self, text: str) -> Why:
        words = plain_words(text)
        # 0 stands for every word that no text has; a run with one is no copy, whatever its hash says.
        numbers = [self._numbers.get(word, 0) for word in words]
        for place in numpy.flatnonzero(numpy.isin(self._runs(numbers), self._known)).tolist():
            if 0 not in numbers[place : place + self._length]:
                return "copied from a real text", " ".join(words[place : place + self._length])
        return None

    def _runs(self, numbers: Sequence[int]) -> numpy.ndarray:
        """A 64-bit hash of each run: a polynomial in an odd number, modulo 2⁶⁴."""
        values, hashes = numpy.array(numbers, dtype=numpy.uint64), numpy.zeros(max(0, len(numbers) - self._length + 1), dtype=numpy.uint64)
        for place in range(self._length):
            hashes = hashes * numpy.uint64(0x9E3779B97F4A7C15) + values[place : place + len(hashes)] * numpy.uint64(0xD1B54A32D192ED03)
        return hashes


def small_grey(images: ImageShards) -> numpy.ndarray:
    """float32 [N, 256]: every picture's mean of colours at 16 x 16 px, by areas, divided by 16, so that distances are root mean squares in levels."""
    parts = (torch.from_numpy(images.images(part.tolist())) for part in torch.arange(len(images)).split(_PICTURES_AT_ONCE))
    grey = [F.adaptive_avg_pool2d(part.float().mean(dim=1, keepdim=True), _SIDE_PX).flatten(1) for part in parts]
    return torch.cat(grey).numpy() / _SIDE_PX


def nearest_pictures(fakes: numpy.ndarray, reals: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """For small_grey of fakes [N] and training pictures [M]: which is nearest [N], and how many levels away [N]."""
    blocks = [(block.argmin(axis=1), block.min(axis=1)) for _, block in distance_blocks(fakes, reals)]
    return numpy.concatenate([nearest for nearest, _ in blocks]), numpy.concatenate([distances for _, distances in blocks])
