"""Titles of papers by a small grammar, as data/paper_texts has them."""

from pathlib import Path

from formats.tables import table_from_rows, write_table
from formats.text_tables import PAPER_TEXTS

_VERBS = ("Synthesis", "Measurement", "Simulation", "Oxidation", "Imaging", "Kinetics")
_THINGS = ("copper clusters", "silk proteins", "ionic liquids", "porous glasses", "chiral amines", "thin films")
_PLACES = ("under pressure", "in water", "by X-ray diffraction", "at low temperature", "for solar cells")


def grammar_titles(number: int) -> list[str]:
    titles = [f"{verb} of {thing} {place}" for verb in _VERBS for thing in _THINGS for place in _PLACES]
    # Neighbours differ in all three words.
    return [titles[index * 37 % len(titles)] for index in range(number)]


def write_paper_texts(data: Path, titles: list[str], *, licence: str = "CC-BY-4.0", valid_every: int = 6, abstract: str | None = None) -> None:
    rows = [
        {
            "id": f"paper-{serial}",
            "serial": serial,
            "title": title,
            "abstract": abstract,
            "language": "en",
            "licence": licence,
            "journal": "Journal of Toys",
            "source": "toys",
            "group": f"paper-{serial}",
            "split": "valid" if serial % valid_every == valid_every - 1 else "train",
            "tdm_reserved": False,
        }
        for serial, title in enumerate(titles)
    ]
    folder = data / "paper_texts"
    folder.mkdir(parents=True)
    write_table(folder / "paper_texts-00000.parquet", table_from_rows(PAPER_TEXTS, rows))
