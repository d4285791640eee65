"""Every page object on the real pages of its publisher: what it finds against what the page itself says, and its CPU beside a bare parsel script.

    python -m bench.publisher_pages --folder ../shared/data/journals/publisher_pages
    python -m bench publisher_pages --scale std          # that folder, more rounds

The pages belong to their publishers and lie beside the checkout; where they are absent there is nothing to do. Of each: articles that the page states
(a count of its own, or its entries counted by a plain search of its text), papers with title, DOI and pages, pictures that are those which the page
gives to that very paper ("right") and any others ("wrong"). The peer reads title, DOI, pages and picture of each entry with CSS selectors and nothing
else; both get the bytes, take turns, and every round another one goes first. Ratio of CPU, ours over theirs; aim for lists: at most 3.
Exits 1 when a picture is wrong, fewer than 95 % of the stated articles or pictures are found, or a list takes more than 3 times the peer's CPU,
or the peer misses entries.
"""

import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from parsel import Selector

from assets.papers.items import Page, PageKind, Paper, Parsed
from assets.papers.pages import PAGES
from bench.measuring import ROOT, parser, spread, write_report
from stages.markdown import table

FOLDER = ROOT / "../shared/data/journals/publisher_pages"
ROUNDS = {"smoke": 5, "std": 25}
AIM = 3.0
ENOUGH = 0.95
Find = Callable[[str], int]
Pictures = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True)
class Case:
    """A saved page. articles: how many the page states. pictures: a part of the picture's address, by the paper's key or a part of its address.

    peer: selectors of the bare script: entries, title, DOI, pages, picture. scripts: by which it finds pictures that scripts name.
    not_papers: covers and contents among the articles.
    """

    page_object: str
    url: str
    kind: PageKind
    articles: Find
    pictures: Pictures
    peer: tuple[str, str, str, str, str]
    not_papers: int = 0
    scripts: str = ""


def _count(pattern: str) -> Find:
    return lambda text: len(set(re.findall(pattern, text)))


def _stated(pattern: str) -> Find:
    def find(text: str) -> int:
        found = re.search(pattern, text)
        return int(found[1]) if found else -1

    return find


def _pairs(pattern: str) -> Pictures:
    return lambda text: {key.lower(): picture for key, picture in re.findall(pattern, text)}


def _one(key: str, picture: str) -> Pictures:
    return lambda text: {key: picture} if picture in text else {}


_FLAGGED_CALL = r"addFigure\('([^']+)','[^']+','([^']+)','true'\)"
_FLAGGED = _pairs(_FLAGGED_CALL)
_BOX = ("div.articleBox", "h2 a", "div.DOI::text", "div.articleAuthors ~ *::text", "div.articleFigure img::attr(src)")
_METAS = (
    "html",
    "h1",
    "meta[name='citation_doi']::attr(content), meta[name='dc.Identifier']::attr(content)",
    "meta[name='citation_firstpage']::attr(content)",
    "img[alt]::attr(src)",
)
_ACS = "http://pubs.acs.org"
CASES: dict[str, Case] = {
    **{
        f"acs_{code}-issueToc-2009-03-05.html": Case(
            "acs", f"{_ACS}/toc/{code}/current", "index", _stated(r"totalCount(\d+)"), _FLAGGED, _BOX, scripts=_FLAGGED_CALL
        )
        for code in ("jacsat", "bichaw", "ancham", "achre4")
    },
    "acs_inocaj-34-25.html": Case("acs", f"{_ACS}/toc/inocaj/34/25", "index", _stated(r"totalCount(\d+)"), _FLAGGED, _BOX),
    "acs_cg100078b.html": Case(
        "acs", f"{_ACS}/doi/abs/10.1021/cg100078b", "article", lambda _: 1, _one("10.1021/cg100078b", "cg-2010-00078b_0014.gif"), _METAS
    ),
    "rsc_cc-issue-47-03.html": Case(
        "rsc",
        "http://pubs.rsc.org/en/journals/journal/cc?issueid=cc047003&issnprint=1359-7345",
        "index",
        _count(r"DOI: </strong>(10\.1039/\w+)"),
        lambda text: {f"10.1039/{number.lower()}": f"/image/GA?id={number}" for number in re.findall(r'class="GALoader1"[^>]*title="(\w+)"', text)},
        ("div.grey_box_wrapper", "h2 a", "div.grey_left_box_text_s4_new::text", "div.grey_left_box_text_s4_new::text", "img.GALoader1::attr(title)"),
        not_papers=3,
    ),
    "rsc_cc-C0CC03247F.html": Case(
        "rsc",
        "http://pubs.rsc.org/en/content/articlelanding/2011/cc/c0cc03247f",
        "article",
        lambda _: 1,
        _one("10.1039/c0cc03247f", "image/GA?id=C0CC03247F"),
        _METAS,
    ),
    "nature_nchem-issue-3-1.html": Case(
        "nature",
        "http://www.nature.com/nchem/journal/v3/n1/index.html",
        "index",
        _count(r'class="atl" id="([^"]+)"'),
        lambda text: {f"10.1038/{name}": f"/toc_images/{name}_toc.jpg" for name in re.findall(r"/toc_images/(nchem\.\d+)_toc\.jpg", text)},
        ("div.entry, div.compound", "h4.atl", "p.doi span::text", "span.page::text", "img.compound::attr(src)"),
    ),
    "nature_nchem-943.html": Case(
        "nature", "http://www.nature.com/nchem/journal/v3/n1/abs/nchem.943.html", "article", lambda _: 1, lambda _: {}, _METAS
    ),
    "wiley_1536-0687_16_4.html": Case(
        "wiley",
        "http://onlinelibrary.wiley.com/doi/10.1002/abc.v16.4/issuetoc",
        "index",
        _count(r'name="doi"[^>]*value="(10\.1002/[^"]+)"'),
        lambda _: {},
        ("div.tocArticle", "a", "p::text", "a span::text", "img::attr(src)"),
    ),
    "iucr_e-2011-03-head.html": Case(
        "iucr",
        "http://journals.iucr.org/e/issues/2011/03/00/isscontshdr.html",
        "index",
        lambda _: 0,
        lambda _: {},
        ("html", "title", "a::attr(href)", "a::attr(href)", "img::attr(src)"),
    ),
    "iucr_e-2011-03-body.html": Case(
        "iucr",
        "http://journals.iucr.org/e/issues/2011/03/00/isscontsbdy.html",
        "index",
        _count(r"doi:(10\.1107/\w+)"),
        _pairs(r"/(\w+)/(\1(?:contentsthm|fig\d_thumbnail)\.gif)"),
        ("table.tocs_entry_table", "h3", "p font::text", "p::text", "td img::attr(src)"),
    ),
    "elsevier_00928674-116-1.html": Case(
        "elsevier",
        "http://www.sciencedirect.com/science/journal/00928674/116/1",
        "index",
        _stated(r"articles\s*<b>1 - (\d+)</b>"),
        lambda _: {},
        ("table.resultRow", "h3 a", "h3 a::attr(href)", "i::text", "img::attr(src)"),
    ),
    "csj_cl-2010-3.html": Case(
        "csj",
        "http://www.csj.jp/journals/chem-lett/cl-cont/newissue.html",
        "index",
        _count(r"id=(cl/2010\.\d+)"),
        lambda text: {f"/gra_10mar/{name}": f"/gra_10mar/{name}" for name in re.findall(r"gra_10mar/(CL-\w+\.gif)", text)},
        ("table table table.features", "td.title", "td.link a::attr(href)", "td.number::text", "td[align=center] img::attr(src)"),
    ),
}


def read(case: Case, body: bytes) -> Parsed:
    return PAGES[case.page_object](Page(case.url, body, case.kind, "bench", "text/html"))


def bare(case: Case, body: bytes) -> int:
    """The peer: how many entries it met."""
    entries, title, doi, pages, picture = case.peer
    page = Selector(text=body.decode("utf-8", "replace"), type="html")  # by itself it reads XHTML as XML, in which these selectors find nothing
    if case.scripts:
        page.css("script::text").re(case.scripts)
    found = [
        {
            "title": entry.css(title).xpath("string()").get(),
            "doi": entry.css(doi).getall(),
            "pages": entry.css(pages).getall(),
            "picture": entry.css(picture).get(),
        }
        for entry in page.css(entries)
    ]
    return len(found)


def pictures_of(case: Case, text: str, parsed: Parsed) -> tuple[int, int, int]:
    """(right, wrong, stated by the page)."""
    stated = case.pictures(text)
    right = wrong = 0
    for paper in parsed.papers:
        if paper.image_url:
            own = [picture for key, picture in stated.items() if _is_of(paper, key)]
            right += any(picture in paper.image_url for picture in own)
            wrong += not any(picture in paper.image_url for picture in own)
    return right, wrong, len(stated)


def _is_of(paper: Paper, key: str) -> bool:
    return key == paper.doi or f"/{key}/" in paper.url or (key.startswith("/") and paper.image_url.endswith(key))


def cpu_ratios(case: Case, body: bytes, rounds: int) -> list[float]:
    """CPU of ours over the peer's, round by round; who goes first alternates."""
    sides: dict[str, Callable[[], object]] = {"ours": lambda: read(case, body), "peer": lambda: bare(case, body)}
    ratios = []
    for number in range(rounds + 1):
        spent = {}
        for name in ("ours", "peer") if number % 2 else ("peer", "ours"):
            started = time.process_time()
            sides[name]()
            spent[name] = time.process_time() - started
        ratios.append(spent["ours"] / spent["peer"])
    return ratios[1:]  # the first round warms up


def measure(folder: Path, rounds: int) -> dict[str, dict]:
    report: dict[str, dict] = {}
    for name, case in CASES.items():
        body = (folder / name).read_bytes()
        text, parsed = body.decode("utf-8", "replace"), read(case, body)
        right, wrong, pictures = pictures_of(case, text, parsed)
        papers = parsed.papers
        report[name] = {
            "page_object": case.page_object,
            "kind": case.kind,
            "articles_stated": case.articles(text),
            "not_papers": case.not_papers,
            "papers": len(papers),
            **{
                f"with_{fact}": sum(bool(getattr(paper, fact)) for paper in papers)
                for fact in ("title", "doi", "pages", "date", "abstract", "journal")
            },
            "links": sum(link.kind in ("index", "article") for link in parsed.links),
            "problems": len(parsed.problems),
            "pictures_stated": pictures,
            "pictures_right": right,
            "pictures_wrong": wrong,
            "met_by_peer": bare(case, body),
            "cpu_ratio": spread(cpu_ratios(case, body, rounds), 2),
        }
    return report


def markdown(report: Mapping[str, Mapping]) -> str:
    header = [
        "page",
        "page object",
        "articles: found of stated",
        "titles",
        "DOIs",
        "pages",
        "abstracts",
        "pictures: right of stated",
        "wrong",
        "CPU, parsel = 1",
    ]
    rows = [
        [
            name.removesuffix(".html"),
            facts["page_object"],
            f"{facts['papers']} of {facts['articles_stated']}" + (f" ({facts['not_papers']} covers and contents)" if facts["not_papers"] else ""),
            *(str(facts[f"with_{fact}"]) for fact in ("title", "doi", "pages", "abstract")),
            f"{facts['pictures_right']} of {facts['pictures_stated']}",
            str(facts["pictures_wrong"]),
            f"{facts['cpu_ratio']['median']:.2f} ({facts['cpu_ratio']['lowest']:.2f}–{facts['cpu_ratio']['highest']:.2f})",
        ]
        for name, facts in report.items()
    ]
    return table(header, rows)


def faults(report: Mapping[str, Mapping]) -> list[str]:
    """What is below its aim."""
    wrong = []
    for name, facts in report.items():
        if facts["papers"] + facts["not_papers"] < ENOUGH * facts["articles_stated"]:
            wrong.append(f"{name}: {facts['papers']} papers of {facts['articles_stated']} stated")
        if facts["pictures_wrong"] or facts["pictures_right"] < ENOUGH * facts["pictures_stated"]:
            wrong.append(f"{name}: {facts['pictures_right']} right and {facts['pictures_wrong']} wrong pictures of {facts['pictures_stated']} stated")
        if facts["met_by_peer"] < ENOUGH * facts["articles_stated"]:
            wrong.append(f"{name}: the peer met {facts['met_by_peer']} entries of {facts['articles_stated']}: its CPU is that of another task")
        if facts["kind"] == "index" and facts["papers"] and facts["cpu_ratio"]["median"] > AIM:
            wrong.append(f"{name}: {facts['cpu_ratio']['median']:.2f} times the CPU of the peer, at most {AIM} is the aim")
    return wrong


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help="the saved pages (default: those beside the checkout)")
    arguments = flags.parse_args()
    if not arguments.folder.is_dir():
        print(f"publisher_pages: {arguments.folder}: no such folder; the pages belong to their publishers and are not part of this repository")
        return 0
    report = measure(arguments.folder, ROUNDS[arguments.scale])
    print(markdown(report))
    write_report(arguments.json, report)
    wrong = faults(report)
    for line in wrong:
        print(f"publisher_pages: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
