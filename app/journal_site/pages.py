"""From imaginary papers to the texts of the site's files. Everything that was not written here is escaped here."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from app.journal_site.style import ICON, RANDOM_SCRIPT, SCRIPT, STYLE
from app.journal_site.templates import ABOUT, CARD, GALLERY, LINEAGE, PAPER, RANDOM, SHELL
from training.words.imaginary.tables import ImaginaryPaper, Lineage

NOTICE = "None of the papers on this site exist: pictures, titles and abstracts were made up by models."
# Sides up to this are shown with their pixels; enlarged smoothly they would be fog.
_SMALL_SIDE_PX = 64
_ROBOTS = "User-agent: *\nDisallow: /\n"


@dataclass(frozen=True)
class Journal:
    """What the pages show. papers: at least one, by number. side_px: of a picture."""

    name: str
    motto: str
    papers: Sequence[ImaginaryPaper]
    lineage: Lineage
    side_px: int


def site_files(journal: Journal, papers_per_page: int) -> Iterator[tuple[str, str]]:
    """(path below the site's folder, text) of every file but the pictures."""
    yield from (("site.css", STYLE), ("site.js", SCRIPT), ("icon.svg", ICON), ("robots.txt", _ROBOTS), ("random.js", RANDOM_SCRIPT))
    yield "papers.js", f"const PAPERS = {_script_json([paper.id for paper in journal.papers])};\n"
    yield from _gallery(journal, papers_per_page)
    for place, paper in enumerate(journal.papers):
        yield f"papers/{paper.id}.html", _paper_page(journal, place)
        yield f"papers/{paper.id}.json", json.dumps(_item(journal, paper), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    about = ABOUT.substitute(count=f"{len(journal.papers):,}", lineage=_lineage(journal.lineage))
    yield "about.html", _page(journal, "About", about, here="about.html")
    first = journal.papers[0]
    yield "random.html", _page(journal, "A paper by chance", RANDOM.substitute(id=first.id, title=escape(first.title)), here="random.html")


def _gallery(journal: Journal, papers_per_page: int) -> Iterator[tuple[str, str]]:
    parts = [journal.papers[start : start + papers_per_page] for start in range(0, len(journal.papers), papers_per_page)]
    names = ["index.html", *(f"page-{number}.html" for number in range(2, len(parts) + 1))]
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        cards = "\n".join(_card(journal, paper, is_cover=number == place == 0) for place, paper in enumerate(part))
        links = [f'<a href="{other}"{_current(other, name)}>{place}</a>' for place, other in enumerate(names, 1)]
        pager = f'<nav class="pager" aria-label="Pages of the contents">{"".join(links)}</nav>' if len(parts) > 1 else ""
        heading = f"{len(journal.papers):,} papers that nobody wrote" + (f", page {number + 1} of {len(parts)}" if number else "")
        content = GALLERY.substitute(heading=heading, start=part[0].number, cards=cards, pager=pager)
        yield name, _page(journal, f"Contents, page {number + 1}" if number else "Contents", content, here=name if number else "index.html")


def _card(journal: Journal, paper: ImaginaryPaper, *, is_cover: bool) -> str:
    shown = {"cover": " cover" if is_cover else "", "loading": "" if is_cover else ' loading="lazy"', "abstract": escape(paper.abstract)}
    return CARD.substitute(_shown(journal, paper) | shown)


def _paper_page(journal: Journal, place: int) -> str:
    paper = journal.papers[place]
    around = [("‹ Before", place - 1), ("Next ›", place + 1)]
    links = [f'<a href="{journal.papers[at].id}.html">{words}</a>' for words, at in around if 0 <= at < len(journal.papers)]
    pager = f'<nav class="pager" aria-label="Neighbouring papers">{"".join(links)}</nav>' if links else ""
    seeds = {name: getattr(paper, name) for name in ("picture_seed", "title_seed", "title_number", "abstract_seed", "abstract_number")}
    content = PAPER.substitute(
        _shown(journal, paper), abstract=escape(paper.abstract), psi=f"{paper.psi:g}", neighbour=_neighbour(paper),
        lineage=_lineage(journal.lineage), pager=pager, **seeds,
    )  # fmt: skip
    work = _work(journal, paper.title) | {"abstract": paper.abstract, "identifier": paper.id, "image": f"../pictures/{paper.id}.png"}
    return _page(journal, paper.title, content, up="../", work=work)


def _shown(journal: Journal, paper: ImaginaryPaper) -> dict[str, Any]:
    return {
        "id": paper.id, "number": f"{paper.number:,}", "title": escape(paper.title), "side": journal.side_px,
        "alt": escape(f"Made-up table-of-contents picture of No. {paper.number}"),
        "small": ' class="small"' if journal.side_px <= _SMALL_SIDE_PX else "",
    }  # fmt: skip


def _neighbour(paper: ImaginaryPaper) -> str:
    told = []
    if paper.nearest_title is not None and paper.nearest_similarity is not None:
        told.append(f"<p>Of all real titles at hand, this one comes nearest: <q><bdi>{escape(paper.nearest_title)}</bdi></q>. It is another work ")
        told.append(f"(<code>{escape(paper.nearest_id or '')}</code>, {paper.nearest_similarity:.0%} alike).</p>")
    told.append(f"<p>The nearest training picture is {paper.nearest_picture_levels:.1f} of 255 grey levels away at 16 × 16 px ")
    return "".join([*told, f"(<code>{escape(paper.nearest_picture_sha256[:16])}</code>).</p>"])


def _lineage(lineage: Lineage) -> str:
    rows = []
    for name, entry in sorted(lineage.items()):
        inputs = "<br>".join(f"{escape(other)} <code>{escape(id)}</code>" for other, id in sorted(entry["inputs"].items())) or "–"
        rows.append(f'<tr><th scope="row">{escape(name)}</th><td><code>{escape(entry["id"])}</code></td><td>{inputs}</td></tr>')
    return LINEAGE.substitute(rows="".join(rows))


def _item(journal: Journal, paper: ImaginaryPaper) -> dict[str, Any]:
    row = {name: value for name, value in asdict(paper).items() if name not in ("shard", "member")}
    return {
        "notice": "This paper does not exist.",
        "genre": "fiction",
        "picture": f"../pictures/{paper.id}.png",
        "lineage": dict(journal.lineage),
        **row,
    }


def _work(journal: Journal, title: str) -> dict[str, Any]:
    """What machines are told (schema.org): a work of fiction, so that no index takes it for scholarship."""
    return {
        "@context": "https://schema.org", "@type": "CreativeWork", "genre": "fiction", "name": title, "creativeWorkStatus": "Made up; does not exist",
        "disambiguatingDescription": NOTICE, "isPartOf": {"@type": "CreativeWork", "genre": "fiction", "name": journal.name},
    }  # fmt: skip


def _page(journal: Journal, title: str, content: str, *, up: str = "", here: str = "", work: dict[str, Any] | None = None) -> str:
    links = [("index.html", "Contents"), ("random.html", "Random paper"), ("about.html", "About")]
    return SHELL.substitute(
        title=escape(f"{title} – {journal.name} (fiction)"), up=up, metadata=_script_json(work or _work(journal, title)),
        name=escape(journal.name), motto=escape(journal.motto), notice=NOTICE, content=content,
        links="".join(f'<a href="{up}{address}"{_current(address, here)}>{words}</a>' for address, words in links),
    )  # fmt: skip


def _current(address: str, here: str) -> str:
    return ' aria-current="page"' if address == here else ""


def _script_json(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
