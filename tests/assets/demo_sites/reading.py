"""Walks an embedded site without HTTP: asks it for an address, and reads the answer with a page object."""

from urllib.parse import parse_qsl, unquote, urlsplit

from assets.demo_sites.exchange import Request, Response, Site
from assets.papers.items import Page, PageKind, Paper, Parsed, Withdrawal
from assets.papers.pages import PAGES


def ask(site: Site, url: str) -> Response:
    parts = urlsplit(url)
    return site.respond(Request("GET", parts.hostname or "", unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))))


def read(site: Site, url: str, page_object: str, kind: PageKind) -> Parsed:
    answer = ask(site, url)
    assert answer.status == 200, (url, answer.status)
    return PAGES[page_object](Page(url, answer.body, kind, "test", answer.content_type))


def walk(site: Site, start: str, page_object: str, kind: PageKind, *, kinds: tuple[PageKind, ...]) -> tuple[list[Paper], list[Withdrawal], list[str]]:
    """Every paper and withdrawal of the pages that links of these kinds lead to, and the addresses asked for."""
    papers: list[Paper] = []
    withdrawals: list[Withdrawal] = []
    asked: dict[str, None] = {}
    pending = [(start, kind)]
    while pending:
        url, kind = pending.pop()
        if url in asked:
            continue
        asked[url] = None
        parsed = read(site, url, page_object, kind)
        assert not parsed.problems, parsed.problems
        papers += parsed.papers
        withdrawals += parsed.withdrawals
        pending += [(link.url, link.kind) for link in parsed.links if link.kind in kinds]
    return papers, withdrawals, list(asked)
