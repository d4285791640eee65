"""Make the imaginary journal a site of static pages: python -m app.journal_site.build

    figment materialize journal_site && open data/journal_site/index.html
    python -m http.server --directory data/journal_site --bind 127.0.0.1

The folder works from a file and from any web server, below any address; it asks nobody else for anything.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.journal_site.pages import Journal, site_files
from formats.png import PngError, decode_png
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.loop.bounds import at_least
from training.words.imaginary.tables import ImaginaryError, picture_png, read_lineage, read_papers

STAGE = "journal_site"
PAPERS = "imaginary_papers"
_MOST_CHARACTERS = 120


@dataclass(frozen=True)
class JournalSiteConfig:
    """The section `journal_site`. name, motto: of the journal, at the head of every page. papers_per_page: of the contents."""

    name: str = "Figmentary Letters"
    motto: str = "A journal of chemistry that never was"
    papers_per_page: int = 25

    def __post_init__(self) -> None:
        at_least(self, 1, "papers_per_page")
        for key in ("name", "motto"):
            if not 0 < len(getattr(self, key).strip()) <= _MOST_CHARACTERS:
                raise ValueError(f"{key} must have 1 to {_MOST_CHARACTERS} characters, found {getattr(self, key)[:_MOST_CHARACTERS]!r}")


def build(papers_folder: Path, config: JournalSiteConfig, target: Path) -> int:
    """Write the site into the folder `target`; gives the number of papers. The same papers give the same bytes. Raises ImaginaryError and PngError."""
    papers = read_papers(papers_folder)
    pictures = {paper.id: picture_png(papers_folder, paper) for paper in papers}
    side_px = decode_png(pictures[papers[0].id]).shape[1]
    journal = Journal(config.name, config.motto, papers, read_lineage(papers_folder), side_px)
    with OutputFolder(target) as output:
        for name, text in site_files(journal, config.papers_per_page):
            output.file(name).write_text(text, encoding="utf-8", newline="\n")
        for id, png in pictures.items():
            output.file(f"pictures/{id}.png").write_bytes(png)
    return len(papers)


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, JournalSiteConfig, overrides=arguments.overrides)
    count = build(arguments.data / PAPERS, config, arguments.data / STAGE)
    reporter.metadata(papers=count)
    reporter.path("site", arguments.data / STAGE / "index.html")
    reporter.log(f"{STAGE}: {count:,} papers; open {arguments.data / STAGE / 'index.html'}")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(ImaginaryError, PngError))


if __name__ == "__main__":
    sys.exit(main())
