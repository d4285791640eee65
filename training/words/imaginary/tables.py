"""What data/imaginary_papers holds (papers.parquet, pictures-NNNNN.zip, lineage.json, rejected.parquet), and its reading. Loads no model."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from formats.image_shards import ImageSetError, open_packs
from formats.tables import columns, read_table
from stages.artifact_id import content_id

# By artifact: {"id": content id, "inputs": {artifact: content id}}.
Lineage = Mapping[str, Mapping[str, Any]]
_MODELS = ("toc_titler", "abstract_t5", "title_gpt2", "toc_encoder")
_ANEW = "make the papers again: figment materialize imaginary_papers --force"


class ImaginaryError(Exception):
    """The imaginary papers cannot be made or read; the message says where, what was found and what to do."""


@dataclass(frozen=True)
class ImaginaryPaper:
    """A row of papers.parquet. id: of title, abstract and picture. nearest_…: the real title (similarity in [0, 1]) and the training picture (levels
    of 255) that come nearest. …_seed, …_number: the text of this number of this seed is the one (training/fine_tuning/generation.py).
    """

    id: str
    number: int
    title: str
    abstract: str
    shard: str
    member: str
    psi: float
    picture_seed: int
    title_seed: int
    title_number: int
    abstract_seed: int
    abstract_number: int
    nearest_title: str
    nearest_id: str
    nearest_similarity: float
    nearest_picture_sha256: str
    nearest_picture_levels: float


PAPERS = columns(**ImaginaryPaper.__annotations__)
_WRITTEN = ("picture_seed", "title_seed", "title_number", "abstract_seed", "abstract_number", "title", "abstract")
REJECTED = pa.schema([*map(PAPERS.field, _WRITTEN), *columns(reason=str, found=str)])


def read_papers(folder: Path) -> list[ImaginaryPaper]:
    """All papers in `folder`, by number; at least one. Raises ImaginaryError."""
    path = folder / "papers.parquet"
    if not path.is_file():
        raise ImaginaryError(f"{path}: no such file; make the papers first: figment materialize imaginary_papers")
    try:
        papers = [ImaginaryPaper(**row) for row in read_table(path, PAPERS.names).to_pylist()]
    except (pa.ArrowException, TypeError, OSError) as error:
        raise ImaginaryError(f"{path}: cannot be read ({error}); {_ANEW}") from None
    if not papers:
        remedy = "see rejected.parquet beside it for what was dropped and why; loosen the filters or train longer, and make imaginary_papers again"
        raise ImaginaryError(f"{path}: no paper in it, and a journal needs one; {remedy}")
    # Files are called so, and read so.
    for name, pattern in (("id", r"[0-9a-f]{16}"), ("shard", r"pictures-[0-9]{5}\.zip")):
        if odd := [value for paper in papers if not re.fullmatch(pattern, value := getattr(paper, name))]:
            raise ImaginaryError(f"{path}: found the {name} {odd[0]!r}, expected {pattern}; {_ANEW}")
    if twice := [id for id, times in Counter(paper.id for paper in papers).items() if times > 1]:
        raise ImaginaryError(f"{path}: found the id {twice[0]} more than once, and a page can show one paper; {_ANEW}")
    return sorted(papers, key=lambda paper: paper.number)


def picture_png(folder: Path, paper: ImaginaryPaper) -> bytes:
    """The paper's picture as a PNG file, its checksum verified. Raises ImaginaryError."""
    return next(picture_pngs(folder, [paper]))


def picture_pngs(folder: Path, papers: Iterable[ImaginaryPaper]) -> Iterator[bytes]:
    """Those of several papers; each zip is opened once for those that stand together. Raises ImaginaryError."""
    for shard, group in groupby(papers, key=lambda paper: paper.shard):
        pack = None
        for paper in group:
            try:
                pack = pack or open_packs(folder / shard)[0]
                png = pack.read(paper.member)
            except (ImageSetError, KeyError) as error:
                raise ImaginaryError(f"{folder / shard}: {paper.member} cannot be read ({error}); {_ANEW}") from None
            yield png


def read_lineage(folder: Path) -> Lineage:
    """What the papers were made from, and what that was made from. Raises ImaginaryError."""
    found = _read_json(folder / "lineage.json", "imaginary_papers")
    return {name: {"id": str(entry["id"]), "inputs": dict(entry["inputs"])} for name, entry in found.items()}


def trace(data: Path, dataset: str) -> Lineage:
    """The lineage of papers made now, down to the merged papers of the crawl. Raises ImaginaryError.

    dataset: of pictures, which stylegan3_toc must have been trained on. Models of words say what they learnt from (data_ids.json); the rest was made
    from what dvc.yaml says, as it lies in `data`. What only a model names (toc_dataset of another size) has no inputs here.
    """
    size = _read_json(data / "stylegan3_toc" / "training_options.json", "stylegan3_toc").get("dataset_size")
    if dataset != f"toc_dataset@{size}":
        raise ImaginaryError(f"{data}: stylegan3_toc was trained on pictures of {size} px, so imaginary_papers must have dataset_size: {size}")
    made_from = {"toc_fakes": "stylegan3_toc", "stylegan3_toc": dataset, dataset: "toc_images", "toc_images": "papers", "paper_texts": "papers"}
    told = {name: _read_json(data / name / "data_ids.json", name) for name in _MODELS}
    ids = {name: content_id(data / name) for name in (*made_from, "papers", *_MODELS)}
    inputs = {name: {other: ids[other]} for name, other in made_from.items()} | told
    named = {name: id for found in told.values() for name, id in found.items()}
    return {name: {"id": id, "inputs": inputs.get(name, {})} for name, id in {**named, **ids}.items()}


def broken_links(lineage: Lineage) -> list[str]:
    """Where something was made from another version than the one that lies in the data folder now, in words."""
    links = [(name, other, id) for name, entry in lineage.items() for other, id in entry["inputs"].items()]
    return [f"{name} was made from {other} {id}" for name, other, id in links if lineage[other]["id"] != id]


def _read_json(path: Path, stage: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ImaginaryError(f"{path}: cannot be read ({error}); figment materialize {stage} --force") from None
