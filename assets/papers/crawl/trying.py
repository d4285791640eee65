"""Say which page object would read an address and what it would find there: papers, pictures, links, problems. Nothing is stored.

    python -m assets.papers.crawl.trying https://journal.example/toc/1/2
    python -m assets.papers.crawl.trying saved.html --url https://journal.example/toc/1/2
    python -m assets.papers.crawl.trying https://journal.example/toc/1/2 --page my_module:parse

An address is asked for by a crawl of one page into a folder that is thrown away: robots.txt, the guard against addresses inside one's own network,
and the contact of `journal_pages` in params.yaml hold as for any other. A saved page is read where it lies.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from assets.papers.crawl.config import JournalPagesConfig, SourceParams
from assets.papers.items import Page, PageKind, Parsed
from assets.papers.page_objects import find_page_object, read_page
from assets.papers.page_rules import UNKNOWN_MARKUP
from assets.papers.raw_pages import RawPages, RawPagesError
from stages.params import ParamsError, load_params
from stages.reporting import Reporter

_KINDS: tuple[PageKind, ...] = ("index", "article", "api")
_SHOWN = 5
_ENOUGH_FACTS = 3
_TELLING = ("doi", "volume", "pages", "date", "abstract")


class TryError(Exception):
    """There is no page to look at: it could not be had, or is no file."""


@dataclass(frozen=True)
class Verdict:
    """What one page object finds on the page when it is asked for as `kind`."""

    page_object: str
    kind: PageKind
    parsed: Parsed

    @property
    def pictures(self) -> int:
        return sum(bool(paper.image_url) for paper in self.parsed.papers)

    @property
    def merit(self) -> tuple[bool, int, int, int, int, bool]:
        """Whether its markup is known; then the more papers, facts of them and links, the better, and the fewer problems; of equals the general one.

        A title alone, which every page has, makes no paper, and what an article page links to makes no list.
        """
        said = self.parsed
        papers = [paper for paper in said.papers if any(getattr(paper, name) for name in _TELLING)]
        facts = [sum(bool(getattr(paper, name)) for name in (*_TELLING, "image_url")) for paper in papers]
        is_known = max(facts, default=0) >= _ENOUGH_FACTS and not any(problem.words.startswith(UNKNOWN_MARKUP) for problem in said.problems)
        return is_known, len(papers), sum(facts), len(said.links), -len(said.problems), self.page_object == "article"


def nothing(page: Page) -> Parsed:  # noqa: ARG001 - a page object takes a page
    """The page object of the crawl that only fetches: it follows nothing."""
    return Parsed()


def verdicts(page: Page, names: Iterable[str]) -> list[Verdict]:
    """What each of these page objects makes of the page, whatever kind it is taken for; the best first, without those that find nothing."""
    found = []
    for name in names:
        read = find_page_object(name)
        tried = [Verdict(name, kind, read_page(read, replace(page, kind=kind))) for kind in _KINDS]
        found.append(max(tried, key=lambda verdict: verdict.merit))
    return sorted(filter(_finds_anything, found), key=lambda verdict: verdict.merit, reverse=True)


def _finds_anything(verdict: Verdict) -> bool:
    """Whether there is more in it than what could not be used."""
    said = verdict.parsed
    return len(said.papers) + len(said.links) + len(said.withdrawals) > len(said.problems) // 2


def fetch(address: str, config: JournalPagesConfig, *, contact: str = "") -> Page:
    """The page of that address, asked for as the crawl would. Raises TryError with why it cannot be had."""
    from assets.papers.crawl.crawling import CrawlError, crawl

    host = urlsplit(address).hostname or ""
    # By the way in which a source of params.yaml is reached: through its proxy, by its contact, with its pauses.
    known = next((source for source in config.sources if source.allows(host)), None)
    known = known or SourceParams(name="tried", page="article", start=[address], licence="unknown")
    source = replace(known, page=f"{__name__}:nothing", start=[address], start_kind="index", max_pages=1, contact=contact or known.contact)
    config = replace(config, sources=[source])
    if problem := config.unreachable_contact():
        raise TryError(f"journal_pages.contact {problem}, or give --contact")
    with tempfile.TemporaryDirectory(prefix="figment-try-") as folder:
        try:
            crawl(config, Path(folder) / "pages", state=Path(folder) / "state", reporter=_Silent())
            with RawPages(Path(folder) / "pages") as raw:
                records = [record for record in raw.records() if record.kind != "robots"]
                for record in reversed(records):
                    if record.status == 200:
                        return raw.page(record)
                why = [f"{problem.kind}: {problem.words}" for problem in raw.problems()]
                why += [f"the server answered {record.status}" for record in records]
        except (CrawlError, RawPagesError, OSError) as error:
            raise TryError(str(error)) from error
    raise TryError("; ".join(dict.fromkeys(why)) or "no answer")


def report(page: Page, found: Sequence[Verdict], config: JournalPagesConfig | None) -> str:
    """The verdicts as text: who would read the page, what each page object finds, and the first papers of the best."""
    lines = [f"{page.url}: {len(page.body):,} bytes of {page.content_type or 'unknown type'}"]
    host = urlsplit(page.url).hostname or ""
    sources = [source for source in (config.sources if config else ()) if source.allows(host)]
    lines += [f"source '{source.name}' of params.yaml reads it with page object '{source.page}'" for source in sources]
    if not found:
        return "\n".join([*lines, "no page object finds papers or links in it; docs/journals.md tells how to write one"])
    best = found[0]
    lines += [f"best read by page object '{best.page_object}', as kind {best.kind}", ""]
    rows = [[verdict.page_object, verdict.kind, *(f"{count:,}" for count in _counts(verdict))] for verdict in found]
    header = ["page object", "as", "papers", "with DOI", "with abstract", "pictures", "links to lists", "links to articles", "problems"]
    lines.append(_columns([header, *rows]))
    papers = [[paper.title[:80], paper.doi, paper.pages, paper.image_url.rpartition("/")[2][:40]] for paper in best.parsed.papers[:_SHOWN]]
    if papers:
        lines += ["", _columns([["first papers", "DOI", "pages", "picture"], *papers])]
    lines += [f"problem: {problem.where}: {problem.words}" for problem in best.parsed.problems[:_SHOWN]]
    return "\n".join(lines).rstrip()


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words in columns of one width; the last is not filled up."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _counts(verdict: Verdict) -> list[int]:
    papers, links = verdict.parsed.papers, verdict.parsed.links
    return [
        len(papers),
        sum(bool(paper.doi) for paper in papers),
        sum(bool(paper.abstract) for paper in papers),
        verdict.pictures,
        sum(link.kind in ("index", "api") for link in links),
        sum(link.kind == "article" for link in links),
        len(verdict.parsed.problems),
    ]


class _Silent(Reporter):
    """A crawl of one page has nothing to tell that its problems do not."""

    def log(self, message: str) -> None:
        """Say nothing."""

    def check(self, name: str, passed: bool, **values: object) -> None:
        """Say nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the verdicts; 1 when nothing was found or had, 2 when the parameters cannot be read."""
    parser = argparse.ArgumentParser(prog="figment crawl try", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("address", help="an address, or the path of a saved page (with --url)")
    parser.add_argument("--url", help="the address that a saved page had")
    parser.add_argument("--page", metavar="NAME", help="try this page object alone: a name, or `module:function`")
    parser.add_argument("--contact", default="", metavar="WHO", help="in place of journal_pages.contact, for this one request")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="PATH", help="where the sources are (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        config = load_params(arguments.params, "journal_pages", JournalPagesConfig) if arguments.params.is_file() else None
        page = _page(arguments, config)
        print(report(page, found := verdicts(page, _names(arguments.page)), config))
    except TryError as error:
        print(f"figment: {arguments.address}: {error}", file=sys.stderr)
        return 1
    except (ParamsError, ValueError) as error:
        print(f"figment: {error}", file=sys.stderr)
        return 2
    return 0 if found else 1


def _page(arguments: argparse.Namespace, config: JournalPagesConfig | None) -> Page:
    if urlsplit(arguments.address).scheme in ("http", "https"):
        if config is None:
            raise ParamsError(f"{arguments.params}: no such file; an address is asked for by the contact and pauses of its journal_pages")
        return fetch(arguments.address, config, contact=arguments.contact)
    path = Path(arguments.address)
    if not path.is_file():
        raise TryError("no such file, and no address with http:// or https://")
    if not arguments.url:
        raise ValueError(f"{path}: give --url ADDRESS, by which links of a saved page become addresses")
    return Page(arguments.url, path.read_bytes(), "index", "tried", "text/html" if path.suffix.lower() in (".html", ".htm", "") else "")


def _names(given: str | None) -> list[str]:
    from assets.papers.pages import PAGES

    return [given] if given else sorted(PAGES)


if __name__ == "__main__":
    sys.exit(main())
