"""The inputs of a campaign: a folder that `prepare` writes and the parts read, with numpy and Pillow alone.

pictures.npz    ToC pictures of 256 px, pages of 128 px (grey), photographs and paintings of 128 px: WebP, one behind the other
molecules.npz   spellings in tokens, properties, splits; its vocabulary, properties and units are in about.json
words.npz       documents in tokens: titles with abstracts, and titles alone (captions of the pictures, by the same number)
about.json      what is in them, and by which code they were made
"""

import functools
import io
import itertools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from formats.molecule_tables import MoleculeTable
from training.gans.image_stream import TrainingImages
from training.polymers.batches import TrainingSet

FOLDER = Path("bench/gpu/inputs")
VERSION = 2
SPLITS = ("train", "valid", "test")


class InputsError(Exception):
    """The folder of inputs is missing or was made by another version."""


def packed(parts: Sequence[bytes] | Sequence[numpy.ndarray], name: str) -> dict[str, numpy.ndarray]:
    """Parts behind one another, as two arrays of a .npz: `NAME` and `NAME_starts` [N + 1]."""
    arrays = [numpy.frombuffer(part, numpy.uint8) if isinstance(part, bytes) else part for part in parts]
    return {name: numpy.concatenate(arrays), f"{name}_starts": numpy.cumsum([0, *map(len, arrays)]).astype(numpy.int32)}


@dataclass(frozen=True)
class Inputs:
    """folder: what `prepare` wrote. most: of the pictures, molecules and documents each (None: all), for trials."""

    folder: Path
    most: int | None = None

    @functools.cached_property
    def about(self) -> dict[str, Any]:
        """Raises InputsError."""
        path = self.folder / "about.json"
        if not path.is_file():
            raise InputsError(f"{path}: no such file; make the inputs first, where the whole project is installed: python -m bench.gpu prepare")
        about = json.loads(path.read_text(encoding="utf-8"))
        if about.get("version") != VERSION:
            raise InputsError(f"{path}: version {about.get('version')}, expected {VERSION}; make them again: python -m bench.gpu prepare")
        return about

    def pictures(self, kind: str, side_px: int) -> TrainingImages:
        """`toc`, `page`, `photograph` or `painting`, made smaller to `side_px` by boxes."""
        from PIL import Image

        def opened(content: bytes) -> numpy.ndarray:
            with Image.open(io.BytesIO(content)) as image:
                small = image.convert("L" if kind == "page" else "RGB")
                pixels = numpy.asarray(small.reduce(small.width // side_px) if small.width > side_px else small)
            return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

        # Pillow lets go of the interpreter while it decodes.
        with ThreadPoolExecutor() as threads:
            return TrainingImages(torch.from_numpy(numpy.stack(list(threads.map(opened, self._parts("pictures", kind))))))

    def molecules(self, split: str, properties: Sequence[str], *, spellings: bool = False) -> TrainingSet:
        """One split, with `properties` in standard deviations of "train". spellings: with random ones behind the canonical one."""
        about, arrays = self.about["molecules"], self._arrays("molecules")
        columns = [about["properties"].index(name) for name in properties]
        rows = numpy.flatnonzero(arrays["split"] == SPLITS.index(split))[: self.most]
        mean, std = self.scale(properties)
        firsts, starts = arrays["first_spelling"], arrays["tokens_starts"]
        chosen = [range(firsts[row], firsts[row + 1] if spellings else firsts[row] + 1) for row in rows]
        sequences = [arrays["tokens"][starts[place] : starts[place + 1]].astype(numpy.int32) for places in chosen for place in places]
        return TrainingSet(
            tokens=numpy.concatenate(sequences),
            starts=numpy.cumsum([0, *map(len, sequences)]),
            first_spelling=numpy.cumsum([0, *map(len, chosen)]),
            properties=((arrays["properties"][rows][:, columns] - mean) / std).astype(numpy.float32),
            set_aside={},
        )

    def scale(self, properties: Sequence[str]) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Mean and standard deviation of "train", [P] each."""
        about, arrays = self.about["molecules"], self._arrays("molecules")
        values = arrays["properties"][arrays["split"] == 0][:, [about["properties"].index(name) for name in properties]].astype(numpy.float64)
        return values.mean(axis=0), values.std(axis=0)

    def molecule_table(self, split: str, properties: Sequence[str]) -> MoleculeTable:
        """The same as texts, with properties in their own units."""
        about, data = self.about["molecules"], self.molecules(split, properties)
        mean, std = self.scale(properties)
        smiles = [self.spelled(data.tokens[start:end].tolist()) for start, end in itertools.pairwise(data.starts)]
        units = {name: about["units"][name] for name in properties}
        return MoleculeTable(smiles, data.properties * std + mean, tuple(properties), units)

    def spelled(self, tokens: Sequence[int]) -> str:
        """The SMILES of tokens, up to <eos>; special tokens are left out."""
        vocabulary, special = self.about["molecules"]["vocabulary"], self.about["molecules"]["special_tokens"]
        eos = self.about["molecules"]["eos"]
        kept = tokens[: list(tokens).index(eos)] if eos in tokens else tokens
        return "".join(vocabulary[token] for token in kept if token >= special)

    def documents(self, kind: str, split: str) -> list[list[int]]:
        """`abstracts` (each behind its title) or `titles` in tokens, ends included; every tenth is "valid"."""
        found = self._parts("words", kind)
        return [tokens.tolist() for place, tokens in enumerate(found) if (place % 10 == 9) == (split == "valid")]

    def held_out_characters(self) -> int:
        """Of the titles of "valid", the end of each counted as one."""
        return int((self._arrays("words")["titles_characters"][: self.most] + 1)[9::10].sum())

    @functools.cache  # noqa: B019 - one object a process
    def _arrays(self, name: str) -> dict[str, numpy.ndarray]:
        assert self.about
        with numpy.load(self.folder / f"{name}.npz") as arrays:
            return dict(arrays)

    def _parts(self, file: str, name: str) -> list[Any]:
        arrays = self._arrays(file)
        starts = arrays[f"{name}_starts"]
        parts = [arrays[name][start:end] for start, end in itertools.pairwise(starts)][: self.most]
        return [part.tobytes() for part in parts] if file == "pictures" else parts
