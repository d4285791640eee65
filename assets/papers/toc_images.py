"""Gather the table-of-contents pictures of `papers` as they were served, named by content, with how each is to be decoded.

python -m assets.papers.toc_images
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from assets.images.gather import GatherConfig, GatherFacts, Original, gather
from assets.images.gather_report import report_gathered
from assets.papers.checks import report_living_pictures
from assets.papers.pictures import StoredPictures
from assets.papers.raw_pages import RawPages, RawPagesError
from assets.papers.tables import IMAGES, PAPERS, REJECTED_IMAGES, TOC_IMAGES
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter


class ImagesError(Exception):
    """The pictures cannot be gathered: `papers` is missing, or does not fit the raw store."""


def gather_images(config: GatherConfig, raw: RawPages, papers: Path, target: Path, *, scratch: Path) -> GatherFacts:
    """Write `toc_images` into the folder `target`, for the papers in the folder `papers`.

    scratch: a folder for the memory of what pictures are; nothing in it decides what is written.
    Raises ImagesError, RawPagesError, OutputBusyError; the previous output is then untouched.
    """
    originals = list(_originals(raw, papers))
    return gather(originals, config, target, index_schema=TOC_IMAGES, rejected_schema=REJECTED_IMAGES, scratch=scratch)


def _originals(raw: RawPages, papers: Path) -> Iterator[Original]:
    """The pictures that papers show; those of withdrawn papers stay out."""
    if not (papers / "images.parquet").is_file():
        raise ImagesError(f"{papers / 'images.parquet'}: no such file; make the papers first: python -m assets.papers.build")
    images = [image for image in pq.read_table(papers / "images.parquet", schema=IMAGES).to_pylist() if image["is_live"]]
    stored = StoredPictures(raw).first_of(image["sha256"] for image in images)
    missing = [image["sha256"] for image in images if image["sha256"] not in stored]
    if missing:
        raise ImagesError(f"{papers}: shows the picture {missing[0]} (and {len(missing) - 1} more), which journal_pages has not; make papers again")
    years = _years(papers)
    for image in images:
        year = next((years[id] for id in image["paper_ids"] if id in years), None)
        columns = {**image, "year": year, "where": image["url"]}
        yield Original(image["sha256"], image["serial"], columns, partial(raw.body, stored[image["sha256"]]))


def _years(papers: Path) -> dict[str, int]:
    """The year of publication of each paper that states a date, by id."""
    years: dict[str, int] = {}
    for shard in sorted(papers.glob("papers-*.parquet")):
        table = pq.read_table(shard, columns=["id", "date"], schema=PAPERS)
        years |= {id: day.year for id, day in zip(table["id"].to_pylist(), table["date"].to_pylist(), strict=True) if day is not None}
    return years


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(ImagesError, RawPagesError))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "toc_images", GatherConfig, overrides=arguments.overrides)
    papers, target = arguments.data / "papers", arguments.data / "toc_images"
    with RawPages(arguments.data / "journal_pages") as raw:
        facts = gather_images(config, raw, papers, target, scratch=Path(".figment") / "reuse" / "toc_images")
    report_gathered(facts, target, reporter)
    report_living_pictures(target, papers, reporter)


if __name__ == "__main__":
    sys.exit(main())
