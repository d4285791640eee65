"""Answers of the OpenAlex interface: `/works` with cursor or page paging, and `/works/ID`. Metadata, abstracts from inverted indexes, retractions.

https://developers.openalex.org/. The start address says what is asked for, for instance
https://api.openalex.org/works?filter=primary_location.source.id:S111155417,from_publication_date:2024-01-01&per_page=100&cursor=*. OpenAlex counts
credits by the day: give the source `daily_credits` and, by the name of an environment variable, `key_env`; the key is never part of an address here.
There are no pictures in OpenAlex. A list that goes on by `page` ends at 10,000 works, as it does there.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from assets.papers.items import Link, Page, Paper, Parsed, Problem
from assets.papers.pages.article import is_withdrawn_title
from assets.papers.pages.crossref import abstract_text
from assets.papers.pages.facts import date_in, date_of, doi_in, join, language_in, licence_by_name
from assets.papers.pages.markup import BAD_INPUT, json_of, tolerant
from formats.plain_text import clean, decode, plain_text

# Works that are about other works, or about an issue.
_NO_PAPERS = {"paratext", "retraction", "erratum", "supplementary-materials", "peer-review"}
# Words of an abstract; an index that names more positions is damaged.
_MOST_WORDS = 20_000
_MOST_BY_PAGE = 10_000


@tolerant
def parse(page: Page) -> Parsed:
    """The works of an answer, and the link to the next one."""
    answer = json_of(decode(page.body, page.content_type))
    works = answer.get("results", [answer] if "id" in answer else None) if isinstance(answer, dict) else None
    if not isinstance(works, list):
        words = "not an answer of OpenAlex's /works: expected `results`, or one work; look at the start address's parameters"
        return Parsed(problems=(Problem(page.url, words),))
    papers: dict[str, Paper] = {}
    problems = []
    for work in works:
        try:
            if work.get("type") in _NO_PAPERS or work.get("is_paratext"):
                continue
            paper = _paper(work)
        except BAD_INPUT as error:
            problems.append(Problem(page.url, f"an entry that is no work: {type(error).__name__}: {clean(str(error))[:100]}"))
            continue
        if paper is None:
            problems.append(Problem(_text(work.get("id")) or page.url, "a work without title or identifier; it is left out"))
        else:
            papers.setdefault(paper.key, paper)
    meta = answer.get("meta")
    links = tuple(_following(page.url, meta, len(works))) if isinstance(meta, dict) else ()
    return Parsed(tuple(papers.values()), links, problems=tuple(problems))


def _paper(work: dict[str, Any]) -> Paper | None:
    title = plain_text(_text(work.get("title")) or _text(work.get("display_name")))
    doi, own = doi_in(_text(work.get("doi"))), _text(work.get("id"))
    if not title or not (doi or own):
        return None
    place, numbers = work.get("primary_location") or {}, work.get("biblio") or {}
    begin, end = _text(numbers.get("first_page")), _text(numbers.get("last_page"))
    is_retracted = work.get("is_retracted") is True or is_withdrawn_title(title)
    return Paper(
        key=doi or own,
        url=join("", _text(place.get("landing_page_url"))) or (f"https://doi.org/{doi}" if doi else own),
        doi=doi,
        journal=plain_text(_text((place.get("source") or {}).get("display_name"))),
        volume=plain_text(_text(numbers.get("volume"))),
        issue=plain_text(_text(numbers.get("issue"))),
        pages=plain_text(f"{begin}–{end}" if begin and end and begin != end else begin),
        date=date_in(_text(work.get("publication_date"))) or date_of(work.get("publication_year")),
        title=title,
        abstract=abstract_text(abstract_of(work.get("abstract_inverted_index"))),
        licence=licence_by_name(_text(place.get("license"))),
        language=language_in(_text(work.get("language"))),
        status="retracted" if is_retracted else "published",
    )


def abstract_of(index: Any) -> str:
    """The words of an inverted index {word: [positions]} in their order; '' where it is none, or names more positions than an abstract has words.

    Positions are not believed to be dense: where some are missing, the words beside them meet.
    """
    if not isinstance(index, dict):
        return ""
    placed = [(place, word) for word, places in index.items() if isinstance(places, list) for place in places if isinstance(place, int)]
    return " ".join(word for _, word in sorted(placed)) if len(placed) <= _MOST_WORDS else ""


def _following(url: str, meta: dict[str, Any], found: int) -> Iterator[Link]:
    """The address of the next answer; none after the last."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "cursor" in query:
        cursor = _text(meta.get("next_cursor"))
        query["cursor"] = cursor if found and cursor != query["cursor"] else ""
    else:
        number, rows, total = (int(_text(meta.get(name)) or 0) for name in ("page", "per_page", "count"))
        query["page"] = str(number + 1) if found and 0 < number * rows < min(total, _MOST_BY_PAGE) else ""
    if query.get("cursor") or query.get("page"):
        yield Link(urlunsplit(parts._replace(query=urlencode(query, safe="*:,|"))), "api")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
