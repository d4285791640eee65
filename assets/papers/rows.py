"""The rows of `papers` and its tables, made of merged papers; see tables.py for what their columns mean."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from assets.images.columns import UNKNOWN_LICENCE
from assets.papers.build_facts import PapersConfig
from assets.papers.identities import plain_doi
from assets.papers.merging import MergedPaper
from assets.papers.pictures import is_reserved
from assets.papers.raw_pages import StoredPage
from assets.papers.reading import bounded
from assets.papers.withdrawals import Withdrawn
from formats.plain_text import clean

# Columns that are copied from what is believed of a paper; empty texts become null.
_TEXTS = (
    "doi",
    "journal",
    "volume",
    "issue",
    "pages",
    "title",
    "abstract",
    "url",
    "source",
    "language",
    "translation_of",
    "image_url",
    "image_sha256",
    "caption",
)


def fault_of(config: PapersConfig, paper: MergedPaper) -> tuple[str, str] | None:
    """(reason, words) where the paper cannot be used."""
    title, abstract = clean(paper.fields.title), clean(paper.fields.abstract)
    if not title:
        return "no_title", "no page gives it a title"
    if len(title) > config.max_title_chars:
        return "title_too_long", f"{len(title):,} characters, at most {config.max_title_chars:,} (papers.max_title_chars) are allowed"
    if len(abstract) > config.max_abstract_chars:
        return "abstract_too_long", f"{len(abstract):,} characters, at most {config.max_abstract_chars:,} (papers.max_abstract_chars) are allowed"
    return None


def row_of(paper: MergedPaper) -> dict[str, Any]:
    """A row of `papers`, without what depends on other papers: serial and near_duplicate_of."""
    fields = paper.fields
    # Page objects give clean text; one of somebody's own may not, and no reordering or hidden sign may get further than this.
    texts = {name: clean(getattr(fields, name)) or None for name in _TEXTS}
    return texts | {
        "id": paper.id,
        "date": fields.date,
        "licence": clean(fields.licence) or UNKNOWN_LICENCE,
        "tdm_reserved": fields.tdm_reserved,
        "first_crawl": paper.first_crawl,
        "first_seen": paper.first_seen,
        "last_changed": paper.last_changed,
        "status": "published",
    }


def tombstone_of(paper: MergedPaper, why: Withdrawn) -> dict[str, Any]:
    """A row of `withdrawn`, without its serial."""
    return {
        "id": paper.id,
        "doi": plain_doi(paper.fields.doi) or None,
        "reason": why.reason,
        "why": bounded(why.why),
        "since": why.since,
        "image_sha256": paper.fields.image_sha256 or paper.last_picture or None,
    }


def image_row(sha256: str, serial: int, first: tuple[int, date], papers: Sequence[Mapping[str, Any]], stored: StoredPage | None) -> dict[str, Any]:
    """A row of `images`. papers: those that show it, by serial. One that no paper shows any more keeps its serial and loses all else."""
    image: dict[str, Any] = {
        "sha256": sha256, "serial": serial, "is_live": False, "paper_ids": [], "first_crawl": first[0], "first_seen": first[1],
    }  # fmt: skip
    if not papers:
        return image
    assert stored is not None, sha256
    # A picture that several papers show may be used only as far as all of them allow.
    licences = sorted({paper["licence"] for paper in papers})
    reserved = [paper["tdm_reserved"] for paper in papers] + [is_reserved(stored)]
    return image | {
        "is_live": True,
        "paper_ids": [paper["id"] for paper in papers],
        "licence": UNKNOWN_LICENCE if UNKNOWN_LICENCE in licences else "; ".join(licences),
        "source": papers[0]["source"],
        "url": papers[0]["image_url"],
        "journal": papers[0]["journal"],
        "tdm_reserved": True if True in reserved else False if False in reserved else None,
    }
