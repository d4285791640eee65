"""Imaginary papers as the stage would leave them, made by hand."""

import hashlib
import json
from pathlib import Path

import numpy

from formats.image_shards import member_name, write_shard
from formats.png import encode_png
from formats.tables import table_from_rows, write_table
from training.words.imaginary.tables import PAPERS

TITLES = (
    "Photocatalytic Hydration of Remembered Alkynes under Candlelight: A Mechanistic and Culinary Study of Cold Tea",
    "λmax of Nothing in Particular",
    "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"> & Sons' \"Quotes\" </script>",
    "حمض لا وجود له in a Glass of H₂O",
    "Supercalifragilisticexpialidociousmethyltetrahydropyranylphosphonoacetaldehydedimethylacetalhydrochloridemonohydrate",
    "On the Enantioselective Total Synthesis of an Anticipated Natural Product",
    "Iron–Sulfur Clusters That Look Away When Observed",
)
ABSTRACT = (
    "We report a catalyst that was never made, for a reaction that does not proceed. Under mild conditions the imagined substrate gives the product "
    "in an expected yield of 112 %, with complete selectivity for the isomer that nobody wanted. Control experiments without experiments confirm the "
    "role of cold tea as the terminal reductant, and calculations at a level of theory yet to be found agree within the error of the reader."
)
LINEAGE = {
    "stylegan3_toc": {"id": "0d4f6e8a7c9b1d2e3f4a5b6c7d8e9f00.dir", "inputs": {"toc_dataset@128": "11d4f6e8a7c9b1d2e3f4a5b6c7d8e9f0.dir"}},
    "toc_dataset@128": {"id": "11d4f6e8a7c9b1d2e3f4a5b6c7d8e9f0.dir", "inputs": {}},
    "toc_titler": {"id": "2bd4f6e8a7c9b1d2e3f4a5b6c7d8e9f0.dir", "inputs": {"title_gpt2": "3cd4f6e8a7c9b1d2e3f4a5b6c7d8e9f0.dir"}},
}


def picture(seed: int, side: int) -> bytes:
    """A few coloured rings and bars on white."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[:side, :side] / side
    pixels = numpy.full((side, side, 3), 255, numpy.uint8)
    for _ in range(4):
        centre, radius = random.uniform(0.2, 0.8, 2), random.uniform(0.05, 0.25)
        distance = numpy.hypot(y - centre[0], x - centre[1])
        pixels[numpy.abs(distance - radius) < 0.03] = random.integers(0, 200, 3)
    return encode_png(pixels)


def write_papers(folder: Path, count: int = 7, *, side: int = 128) -> Path:
    """The folder of `count` imaginary papers, titles as in TITLES."""
    folder.mkdir(parents=True)
    pngs = [picture(number, side) for number in range(1, count + 1)]
    if count:
        write_shard(folder / "pictures-00000.zip", enumerate(pngs, 1))
    rows = [
        {
            "id": hashlib.sha256(png).hexdigest()[:16], "number": number, "title": TITLES[(number - 1) % len(TITLES)], "abstract": ABSTRACT,
            "shard": "pictures-00000.zip", "member": member_name(number), "psi": 0.8, "picture_seed": number, "title_seed": 7, "abstract_seed": 8,
            "title_number": number, "abstract_number": number,
            "nearest_title": "A Real Title <b>of</b> Something", "nearest_id": "5f0c", "nearest_similarity": 0.41,
            "nearest_picture_sha256": "ab" * 32, "nearest_picture_levels": 23.4,
        }
        for number, png in enumerate(pngs, 1)
    ]  # fmt: skip
    write_table(folder / "papers.parquet", table_from_rows(PAPERS, [{key: row[key] for key in PAPERS.names} for row in rows]))
    (folder / "lineage.json").write_text(json.dumps(LINEAGE))
    return folder
