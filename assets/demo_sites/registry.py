"""The registry's side of the imaginary journal: works as a Crossref-style REST interface tells them, with cursors and retraction notices.

https://www.crossref.org/documentation/retrieve-metadata/rest-api/. A retraction is a work of its own whose `update-to` names the retracted DOI.
"""

import base64
import json
from collections.abc import Mapping
from datetime import timedelta

from assets.demo_sites.catalogue import CODE, FIRST_DAY, NAME, PAPERS_IN_FIRST_EDITION, PREFIX, Article, Edition, Retraction
from assets.demo_sites.exchange import Response, text

_LICENCE_URL = "http://creativecommons.org/publicdomain/zero/1.0/"
_MOST_ROWS = 1000
_JSON = "application/json; charset=utf-8"


def works(edition: Edition, query: Mapping[str, str], *, journal: str) -> Response:
    """The answer of `/works`: `rows` (20 unless told, 1000 at most) items from `cursor` (`*` is the first page) or `offset`.

    journal: the address of the journal's site.
    """
    rows = _number(query.get("rows", "20"))
    start = _place(query["cursor"]) if "cursor" in query else _number(query.get("offset", "0"))
    if rows is None or start is None:
        words = [
            {"type": "parameter-not-valid", "value": "rows or cursor", "message": "This is not a number, or not a cursor that was given out here."}
        ]
        return text(json.dumps({"status": "failed", "message-type": "validation-failure", "message": words}), _JSON, status=400)
    # Paged by place, which is safe because later editions only append: nothing moves between two pages of one harvest.
    everything = all_works(edition, journal=journal)
    rows = min(rows, _MOST_ROWS)
    page = everything[start : start + rows]
    message: dict = {
        "facets": {},
        "total-results": len(everything),
        "items": page,
        "items-per-page": rows,
        "query": {"start-index": start, "search-terms": None},
    }
    if "cursor" in query:
        message["next-cursor"] = _cursor(start + len(page))
    return _json({"status": "ok", "message-type": "work-list", "message-version": "1.0.0", "message": message})


def work(edition: Edition, doi: str, *, journal: str) -> Response:
    """The answer of `/works/{doi}`."""
    found = next((item for item in all_works(edition, journal=journal) if item["DOI"].lower() == doi.lower()), None)
    if found is None:
        return text("Resource not found.", status=404)
    return _json({"status": "ok", "message-type": "work", "message-version": "1.0.0", "message": found})


def all_works(edition: Edition, *, journal: str) -> list[dict]:
    """Articles by number, then notices in the order in which they came; what is new comes last, so that earlier pages stay as they are."""
    retracted = {retraction.number: retraction for retraction in edition.retractions}
    everything = {**edition.articles, **edition.withdrawn}
    items = [_item(article, retracted.get(number), journal) for number, article in sorted(everything.items())]
    first, later = items[:PAPERS_IN_FIRST_EDITION], items[PAPERS_IN_FIRST_EDITION:]
    notices = [_notice(retraction, edition.withdrawn[retraction.number], journal) for retraction in edition.retractions]
    # Each later edition brought one article and one notice.
    pairs = [item for pair in zip(later, notices, strict=True) for item in pair]
    return first + pairs


def _item(article: Article, retraction: Retraction | None, journal: str) -> dict:
    day = [article.day.year, article.day.month, article.day.day]
    item = _common(article.doi, article.written.title, day) | {
        "page": article.pages.replace("–", "-"),
        "volume": str(article.issue.volume),
        "issue": str(article.issue.number),
        "author": [
            {
                "given": name.partition(" ")[0],
                "family": name.partition(" ")[2],
                "sequence": "first" if place == 0 else "additional",
                "affiliation": [],
            }
            for place, name in enumerate(article.written.authors)
            if " " in name and not article.is_editorial
        ],
        "URL": f"http://dx.doi.org/{article.doi}",
        "resource": {"primary": {"URL": f"{journal}/doi/{article.doi}"}},
    }
    if retraction:
        item["updated-by"] = [
            {"DOI": notice_doi(retraction), "type": "retraction", "source": "publisher", "label": "Retraction", "updated": _when(retraction)}
        ]
    return item


def _notice(retraction: Retraction, article: Article, journal: str) -> dict:
    # The title does not repeat that of the withdrawn paper: who withdraws it may want it gone.
    item = _common(notice_doi(retraction), "Notice of Retraction", _when(retraction)["date-parts"][0])
    update = {"DOI": article.doi, "type": "retraction", "source": "publisher", "label": "Retraction", "updated": _when(retraction)}
    return item | {
        "update-to": [update],
        "abstract": f"<jats:p>{retraction.why}</jats:p>",
        "URL": f"http://dx.doi.org/{notice_doi(retraction)}",
        "resource": {"primary": {"URL": f"{journal}/doi/{notice_doi(retraction)}"}},
    }


def _common(doi: str, title: str, day: list[int]) -> dict:
    parts = {"date-parts": [day]}
    return {
        "DOI": doi,
        "type": "journal-article",
        "title": [title],
        "container-title": [NAME],
        "short-container-title": ["Imag. Lett."],
        "publisher": "The Publisher of Imaginary Letters",
        "prefix": PREFIX,
        "member": "0",
        "ISSN": ["0000-0000"],
        "language": "en",
        "published": parts,
        "published-online": parts,
        "issued": parts,
        "license": [{"start": parts, "content-version": "vor", "delay-in-days": 0, "URL": _LICENCE_URL}],
    }


def notice_doi(retraction: Retraction) -> str:
    return f"{PREFIX}/{CODE}.r{retraction.edition:04d}"


def _when(retraction: Retraction) -> dict:
    day = FIRST_DAY + timedelta(days=retraction.edition)
    return {"date-parts": [[day.year, day.month, day.day]]}


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"after {place}".encode()).decode()


def _place(cursor: str) -> int | None:
    if cursor == "*":
        return 0
    try:
        word, _, place = base64.urlsafe_b64decode(cursor.encode()).decode("latin-1").partition(" ")
    except ValueError:
        return None
    return _number(place) if word == "after" else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _json(value: object) -> Response:
    return text(json.dumps(value, ensure_ascii=False), _JSON)
