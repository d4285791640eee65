"""Answers of the Crossref REST interface: `/works` with cursor or offset paging, `/journals/…/works`, and `/works/DOI`.

https://www.crossref.org/documentation/retrieve-metadata/rest-api/

The start address says what is asked for, for instance https://api.crossref.org/works?filter=issn:0002-7863&rows=200 or …&rows=1000&cursor=*; a
`mailto` in it is kept from page to page (the crawl's user agent names the contact as well). Without a cursor pages are counted with `offset`, which
Crossref bounds at 10,000; such pages keep their addresses from night to night, while a cursor is another one every time.

Retractions: a notice whose `update-to` names another DOI gives a Withdrawal of that DOI and is no paper itself; a work whose `updated-by` names a
retraction says so of itself. There are no pictures in Crossref.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from assets.images.licences import spdx
from assets.papers.items import Link, Page, Paper, Parsed, Problem, Withdrawal
from assets.papers.pages.article import is_withdrawn_title
from assets.papers.pages.facts import date_of, doi_in, join, language_in
from assets.papers.pages.markup import BAD_INPUT, descendants, json_of, text_of, tolerant, xml_tree
from formats.plain_text import clean, decode, plain_text

# What an `update-to` or `updated-by` of this type does to the work it names; partial retractions and corrections leave it in place.
_WITHDRAWING = {"retraction", "withdrawal", "removal"}
_NOTICES = _WITHDRAWING | {
    "partial_retraction",
    "correction",
    "corrigendum",
    "erratum",
    "expression_of_concern",
    "addendum",
    "clarification",
    "err",
    "crrctn",
}
_MOST_OFFSET = 10_000
_HEADING = re.compile(r"^(?i:abstract)[.:]?\s+(?=[^a-z])")


@tolerant
def parse(page: Page) -> Parsed:
    """The works of an answer, the withdrawals among them, and the link to the next answer."""
    answer = json_of(decode(page.body, page.content_type))
    message = answer.get("message") if isinstance(answer, dict) else None
    if not isinstance(message, dict) or answer.get("status") != "ok":
        words = "not an answer of Crossref's /works: expected status 'ok' and a message; look at the start address's parameters"
        return Parsed(problems=(Problem(page.url, words),))
    # /works gives a list, /works/DOI one work.
    items = message["items"] if isinstance(message.get("items"), list) else [message]
    papers: dict[str, Paper] = {}
    withdrawals: list[Withdrawal] = []
    problems: list[Problem] = []
    for item in items:
        try:
            doi = doi_in(item.get("DOI"))
            withdrawals += _withdrawals(item, doi)
            if _is_notice(item):
                continue
            paper = _paper(item, doi)
        except BAD_INPUT as error:
            problems.append(Problem(page.url, f"an item that is no work: {type(error).__name__}: {clean(str(error))[:100]}"))
            continue
        if paper is None:
            problems.append(Problem(doi or page.url, "a work without DOI or title; it is left out"))
        else:
            papers.setdefault(paper.key, paper)
    # That Crossref counts no further is told as a problem of the page, with what to write in the start address instead.
    links: tuple[Link, ...] = ()
    try:
        if url := _next_url(page.url, message, len(items)):
            links = (Link(url, "api"),)
    except ValueError as error:
        problems.append(Problem(page.url, clean(str(error))))
    return Parsed(papers=tuple(papers.values()), links=links, withdrawals=tuple(withdrawals), problems=tuple(problems))


def _paper(item: dict[str, Any], doi: str) -> Paper | None:
    title = plain_text(_first(item.get("title")) or _first(item.get("original-title")))
    if not doi or not title:
        return None
    # Either side may say it: the title of old records, and `updated-by` of those that know their notice.
    is_withdrawn = is_withdrawn_title(title) or any(update.get("type") in _WITHDRAWING for update in _updates(item, "updated-by"))
    resource = item.get("resource")
    primary = resource.get("primary") if isinstance(resource, dict) else None
    return Paper(
        key=doi,
        url=join("", primary.get("URL") if isinstance(primary, dict) else "") or f"https://doi.org/{doi}",
        doi=doi,
        journal=plain_text(_first(item.get("container-title"))),
        volume=plain_text(_text(item.get("volume"))),
        issue=plain_text(_text(item.get("issue"))),
        pages=plain_text(_text(item.get("page")) or _text(item.get("article-number"))),
        date=_date(item),
        title=title,
        abstract=abstract_text(_text(item.get("abstract"))),
        licence=_licence(item),
        language=language_in(_text(item.get("language"))),
        status="retracted" if is_withdrawn else "published",
    )


def abstract_text(marked: str) -> str:
    """The text of an abstract in JATS markup, without its own heading; markup that is not well-formed is read as plain text."""
    if "<" not in marked:
        return _HEADING.sub("", plain_text(marked), count=1)
    try:
        tree = xml_tree(f'<a xmlns:jats="j" xmlns:mml="m" xmlns:xlink="l">{marked}</a>')
    except BAD_INPUT:
        return _HEADING.sub("", plain_text(marked), count=1)
    # The heading goes with everything inside it, but not the text behind it (an lxml element carries that as its tail).
    for title in list(descendants(tree, "title")):
        if text_of(title).rstrip(".:").lower() == "abstract":
            title.text = ""
            for child in list(title):
                title.remove(child)
    return plain_text(text_of(tree))


def _withdrawals(item: dict[str, Any], doi: str) -> Iterator[Withdrawal]:
    for update in _updates(item, "update-to"):
        target = doi_in(update.get("DOI"))
        if update.get("type") in _WITHDRAWING and target and target != doi:
            yield Withdrawal(target, "retracted", f"{clean(_text(update.get('label')) or _text(update.get('type')))} {doi}".strip())


def _is_notice(item: dict[str, Any]) -> bool:
    return any(update.get("type") in _NOTICES for update in _updates(item, "update-to"))


def _updates(item: dict[str, Any], key: str) -> list[dict[str, Any]]:
    updates = item.get(key)
    return [update for update in updates if isinstance(update, dict)] if isinstance(updates, list) else []


def _date(item: dict[str, Any]) -> date | None:
    """The earliest full statement of when the work came out."""
    for key in ("published-online", "published-print", "published", "issued", "posted"):
        parts = item[key].get("date-parts") if isinstance(item.get(key), dict) else None
        if isinstance(parts, list) and parts and isinstance(parts[0], list) and (found := date_of(*parts[0][:3]) if parts[0] else None):
            return found
    return None


def _licence(item: dict[str, Any]) -> str:
    """The licence of the version of record, else any that is certain."""
    stated = item.get("license")
    licences = [licence for licence in stated if isinstance(licence, dict)] if isinstance(stated, list) else []
    licences.sort(key=lambda licence: licence.get("content-version") != "vor")
    return next((name for licence in licences if (name := spdx(_text(licence.get("URL"))))), "")


def _next_url(url: str, message: dict[str, Any], found: int) -> str:
    """The address of the following answer; '' after the last one. Raises ValueError where Crossref gives no more of them."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    rows = int(query["rows"]) if query.get("rows", "").isdigit() else 20
    # A short page is the last one. A cursor that comes back unchanged would go round for ever.
    if found == 0 or found < rows or "sample" in query or not isinstance(message.get("items"), list):
        return ""
    if "cursor" in query:
        following = _text(message.get("next-cursor"))
        if not following or following == query["cursor"]:
            return ""
        query["cursor"] = following
    else:
        start = (int(query["offset"]) if query.get("offset", "").isdigit() else 0) + rows
        total = message.get("total-results")
        if isinstance(total, int) and start >= total:
            return ""
        if start + rows > _MOST_OFFSET:
            raise ValueError(
                f"Crossref counts to {_MOST_OFFSET:,} works, of {total} asked for; add `cursor=*` to the start address, or ask for fewer by a filter"
            )
        query["offset"] = str(start)
    return urlunsplit(parts._replace(query=urlencode(query, safe="*:,@")))


def _first(value: Any) -> str:
    return next((entry for entry in value if isinstance(entry, str) and entry.strip()), "") if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
