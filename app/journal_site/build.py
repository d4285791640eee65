"""Make the imaginary journal a site of static pages: python -m app.journal_site.build

    figment materialize journal_site && open data/journal_site/index.html
    python -m http.server --directory data/journal_site --bind 127.0.0.1

It works from a file and from any web server, and asks nobody else for anything. Every text that was not written here is escaped here.
"""

import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import Any

from app.journal_site.style import ICON, RANDOM_SCRIPT, SCRIPT, STYLE
from app.journal_site.templates import ABOUT, CARD, GALLERY, LINEAGE, PAPER, RANDOM, SHELL
from formats.png import PngError, decode_png
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.loop.bounds import at_least
from training.words.imaginary.tables import ImaginaryError, ImaginaryPaper, Lineage, picture_png, picture_pngs, read_lineage, read_papers

STAGE, PAPERS = "journal_site", "imaginary_papers"
NOTICE = "None of the papers on this site exist: pictures, titles and abstracts were made up by models."
# Sides up to this are shown with their pixels; enlarged smoothly they would be fog.
_SMALL_SIDE_PX = 64
# Of an abstract, in the contents; more than the lines that are shown there hold.
_BEGINNING_CHARACTERS = 900
# Text is escaped, so that a < always begins a tag.
_OUTSIDE = re.compile(
    r"""(?:<[^<>]*\s(?:href|src|srcset|action|data)\s*=|@import|url\()\s*["']?((?:[a-z][a-z0-9+.-]*:|//)[^"'<>\s]*)""", re.IGNORECASE
)
_CURRENT = ("", ' aria-current="page"')


@dataclass(frozen=True)
class JournalSiteConfig:
    """The section `journal_site`. name, motto: of the journal, at the head of every page. papers_per_page: of the contents."""

    name: str = "Figmentary Letters"
    motto: str = "A journal of chemistry that never was"
    papers_per_page: int = 25

    def __post_init__(self) -> None:
        at_least(self, 1, "papers_per_page")
        for key in ("name", "motto"):
            if not 0 < len(getattr(self, key).strip()) <= 120:
                raise ValueError(f"{key} must have 1 to 120 characters, found {getattr(self, key)[:120]!r}")


@dataclass(frozen=True)
class Journal:
    """What the pages show. papers: at least one, by number. side_px: of a picture."""

    config: JournalSiteConfig
    papers: Sequence[ImaginaryPaper]
    lineage: Lineage
    lineage_table: str
    side_px: int


def build(papers_folder: Path, config: JournalSiteConfig, target: Path) -> int:
    """Write the site into the folder `target`; gives the number of papers. The same papers give the same bytes. Raises ImaginaryError, PngError."""
    papers = read_papers(papers_folder)
    side_px = decode_png(picture_png(papers_folder, papers[0])).shape[1]
    lineage = read_lineage(papers_folder)
    journal = Journal(config, papers, lineage, _lineage(lineage), side_px)
    with OutputFolder(target) as output:
        for name, text in _files(journal):
            output.file(name).write_text(text, encoding="utf-8", newline="\n")
        for paper, png in zip(papers, picture_pngs(papers_folder, papers), strict=True):
            output.file(f"pictures/{paper.id}.png").write_bytes(png)
    return len(papers)


def _files(journal: Journal) -> Iterator[tuple[str, str]]:
    """(path below the site's folder, text) of every file but the pictures."""
    yield from (("site.css", STYLE), ("site.js", SCRIPT), ("icon.svg", ICON), ("random.js", RANDOM_SCRIPT))
    yield "robots.txt", "User-agent: *\nDisallow: /\n"
    yield "papers.js", f"const PAPERS = {_script_json([paper.id for paper in journal.papers])};\n"
    yield from _gallery(journal)
    for place, paper in enumerate(journal.papers):
        yield f"papers/{paper.id}.html", _paper_page(journal, place)
        more = {"notice": NOTICE, "genre": "fiction", "picture": f"../pictures/{paper.id}.png", "lineage": journal.lineage}
        yield f"papers/{paper.id}.json", json.dumps(asdict(paper) | more, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    about = ABOUT.substitute(count=f"{len(journal.papers):,}", lineage=journal.lineage_table)
    yield "about.html", _page(journal, "About", about, here="about.html")
    first = journal.papers[0]
    yield "random.html", _page(journal, "A paper by chance", RANDOM.substitute(id=first.id, title=escape(first.title)), here="random.html")


def _gallery(journal: Journal) -> Iterator[tuple[str, str]]:
    size = journal.config.papers_per_page
    parts = [journal.papers[start : start + size] for start in range(0, len(journal.papers), size)]
    names = ["index.html", *(f"page-{number}.html" for number in range(2, len(parts) + 1))]
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        cards = "\n".join(CARD.substitute(_shown(journal, paper), cover="" if number + place else " cover") for place, paper in enumerate(part))
        pager = f'<nav class="pager" aria-label="Pages of the contents">{_page_links(names, number)}</nav>' if len(parts) > 1 else ""
        heading = f"{len(journal.papers):,} papers that nobody wrote" + (f", page {number + 1} of {len(parts)}" if number else "")
        content = GALLERY.substitute(heading=heading, start=part[0].number, cards=cards, pager=pager)
        yield name, _page(journal, f"Contents, page {number + 1}" if number else "Contents", content, here=name if number else "index.html")


def _page_links(names: Sequence[str], here: int) -> str:
    """Links to the first page, the last, and those around this one."""
    near = sorted({0, len(names) - 1, *range(max(0, here - 2), min(len(names), here + 3))})
    links = [f'<a href="{names[place]}"{_CURRENT[place == here]}>{place + 1}</a>' for place in near]
    return "".join(("<span>…</span>" if place - 1 > before else "") + link for before, place, link in zip([0, *near], near, links, strict=False))


def _paper_page(journal: Journal, place: int) -> str:
    paper = journal.papers[place]
    around = [("‹ Before", place - 1), ("Next ›", place + 1)]
    links = [f'<a href="{journal.papers[at].id}.html">{words}</a>' for words, at in around if 0 <= at < len(journal.papers)]
    pager = f'<nav class="pager" aria-label="Neighbouring papers">{"".join(links)}</nav>' if links else ""
    seeds = {name: getattr(paper, name) for name in ("picture_seed", "title_seed", "title_number", "abstract_seed", "abstract_number")}
    more = {"psi": f"{paper.psi:g}", "neighbour": _neighbour(paper), "lineage": journal.lineage_table, "pager": pager}
    content = PAPER.substitute(_shown(journal, paper) | seeds | more)
    work = _work(journal, paper.title) | {"abstract": paper.abstract, "identifier": paper.id, "image": f"../pictures/{paper.id}.png"}
    return _page(journal, paper.title, content, up="../", work=work)


def _shown(journal: Journal, paper: ImaginaryPaper) -> dict[str, Any]:
    small = ' class="small"' if journal.side_px <= _SMALL_SIDE_PX else ""
    texts = {"title": escape(paper.title), "abstract": escape(paper.abstract), "alt": f"Made-up table-of-contents picture of No. {paper.number}"}
    texts["beginning"] = escape(shorten(paper.abstract, _BEGINNING_CHARACTERS, placeholder=" …"))
    return texts | {"id": paper.id, "number": f"{paper.number:,}", "side": journal.side_px, "small": small}


def _neighbour(paper: ImaginaryPaper) -> str:
    title, id, sha256 = escape(paper.nearest_title), escape(paper.nearest_id), escape(paper.nearest_picture_sha256[:16])
    alike = f"It is another work (<code>{id}</code>, {paper.nearest_similarity:.0%} alike)"
    away = f"is {paper.nearest_picture_levels:.1f} of 255 grey levels away at 16 × 16 px"
    title = f"<p>Of all real titles at hand, this one comes nearest: <q><bdi>{title}</bdi></q>. {alike}.</p>"
    return f"{title}<p>The nearest training picture (<code>{sha256}</code>) {away}.</p>"


def _lineage(lineage: Lineage) -> str:
    """A row an artifact. What it was made from stands with its id where that is not the one in its own row."""
    rows = []
    for name, entry in sorted(lineage.items()):
        others = [
            escape(other) + ("" if other in lineage and lineage[other]["id"] == id else f" <code>{escape(id)}</code>")
            for other, id in sorted(entry["inputs"].items())
        ]
        inputs = ", ".join(others) or "–"
        rows.append(f'<tr><th scope="row">{escape(name)}</th><td><code>{escape(entry["id"])}</code></td><td>{inputs}</td></tr>')
    return LINEAGE.substitute(rows="".join(rows))


def outside_links(site: Path) -> list[str]:
    """What the pages and styles of a site link to or load from outside of it."""
    files = sorted(path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg"))
    return [f"{path.name}: {found[1]}" for path in files for found in _OUTSIDE.finditer(path.read_text(encoding="utf-8"))]


def _work(journal: Journal, title: str) -> dict[str, Any]:
    """What machines are told (schema.org): a work of fiction, so that no index takes it for scholarship."""
    kind = {"@type": "CreativeWork", "genre": "fiction"}
    return {
        "@context": "https://schema.org",
        **kind,
        "name": title,
        "disambiguatingDescription": NOTICE,
        "isPartOf": {**kind, "name": journal.config.name},
    }


def _page(journal: Journal, title: str, content: str, *, up: str = "", here: str = "", work: dict[str, Any] | None = None) -> str:
    places = [("index.html", "Contents"), ("random.html", "Random paper"), ("about.html", "About")]
    links = "".join(f'<a href="{up}{address}"{_CURRENT[address == here]}>{words}</a>' for address, words in places)
    texts = {
        "title": escape(f"{title} – {journal.config.name} (fiction)"),
        "name": escape(journal.config.name),
        "motto": escape(journal.config.motto),
        "notice": NOTICE,
    }
    return SHELL.substitute(texts, up=up, links=links, content=content, metadata=_script_json(work or _work(journal, title)))


def _script_json(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, JournalSiteConfig, overrides=arguments.overrides)
    count, start = build(arguments.data / PAPERS, config, arguments.data / STAGE), arguments.data / STAGE / "index.html"
    outside = outside_links(arguments.data / STAGE)
    reporter.check("no_outside_links", not outside, outside_links=len(outside), first=outside[0] if outside else "")
    reporter.metadata(papers=count)
    reporter.path("site", start)
    reporter.log(f"{STAGE}: {count:,} papers; open {start}")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(ImaginaryError, PngError))


if __name__ == "__main__":
    sys.exit(main())
