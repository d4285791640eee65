"""Small sets of papers whose abstracts say what their titles are about."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

from formats.tables import table_from_rows, write_table
from formats.text_tables import PAPER_TEXTS

_SUBSTANCES = ("alkenes", "azides", "carbenes", "indoles", "ketenes", "lactones")
_WAYS = ("by moonlight", "in rainwater", "under pressure", "on gold")

Paper = tuple[str, str | None]


def toy_pair(number: int) -> Paper:
    """A title, and an abstract that its title decides."""
    random = Random(number)
    substance, way = random.choice(_SUBSTANCES), random.choice(_WAYS)
    return f"{substance.title()} {way}", f"We make {substance} {way}. No {substance} were found before."


def write_papers(folder: Path, papers: Sequence[tuple[str, Paper]]) -> Path:
    """`paper_texts` in `folder` of (split, (title, abstract))."""
    rows = [
        {
            "id": f"{serial:016x}",
            "serial": serial,
            "title": title,
            "abstract": abstract,
            "licence": "CC0-1.0",
            "group": f"{serial:016x}",
            "split": split,
        }
        for serial, (split, (title, abstract)) in enumerate(papers)
    ]
    folder.mkdir(parents=True)
    write_table(folder / f"{folder.name}-00000.parquet", table_from_rows(PAPER_TEXTS, rows))
    return folder


def toy_papers(train: int, valid: int, test: int) -> list[tuple[str, Paper]]:
    splits = ["train"] * train + ["valid"] * valid + ["test"] * test
    return [(split, toy_pair(number)) for number, split in enumerate(splits)]
