"""OAI-PMH: the records of `ListRecords` and `GetRecord` in Dublin Core (oai_dc) and arXiv's own formats, with and without namespaces.

http://www.openarchives.org/OAI/openarchivesprotocol.html, https://info.arxiv.org/help/oa/index.html. A resumption token becomes the link to the next
answer; a record whose header says `deleted` becomes a Withdrawal. The key of a record is its identifier.
"""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from lxml import etree

from assets.images.licences import spdx
from assets.papers.items import Link, Page, Paper, Parsed, Problem, Withdrawal
from assets.papers.pages.facts import date_in, doi_in, join, language_in
from assets.papers.pages.markup import children, descendants, first, name_of, tolerant, xml_tree
from formats.plain_text import clean, decode, plain_text

# Errors that mean "nothing to tell", as opposed to "asked wrongly".
_HARMLESS = {"noRecordsMatch"}


@tolerant
def parse(page: Page) -> Parsed:
    """The papers and withdrawals of an answer, and the link to the next one."""
    problems: list[Problem] = []
    text = decode(page.body, page.content_type)
    try:
        root = xml_tree(text)
    except etree.XMLSyntaxError as error:
        root = xml_tree(text, recover=True)
        problems.append(Problem(page.url, f"damaged XML ({clean(str(error))[:120]}); read as far as it goes"))
    papers: dict[str, Paper] = {}
    withdrawals: list[Withdrawal] = []
    if name_of(root) not in {"oai-pmh", "listrecords", "getrecord", "record", "records"}:
        problems.append(Problem(page.url, f"not an answer of OAI-PMH: its root element is <{name_of(root)}>; look at the start address"))
    errors = [element for element in children(root, "error") if element.get("code") not in _HARMLESS]
    problems += [Problem(page.url, f"the server answers {element.get('code')}: {clean(element.text or '')[:200]}") for element in errors]
    # A record is a paper, a withdrawal, or a problem.
    for record in descendants(root, "record"):
        if any(name_of(outer) == "record" for outer in record.iterancestors()):
            continue  # no record holds another; one in one in one would be read as often as it is deep
        header = first(record, "header")
        key = clean(_text(first(header, "identifier")))
        if not key:
            problems.append(Problem(page.url, "a record without identifier in its header; it is left out"))
        elif header is not None and header.get("status") == "deleted":
            withdrawals.append(Withdrawal(key, "deleted", "the repository has deleted the record"))
        elif paper := _paper(record, key, page.url):
            papers.setdefault(key, paper)
        else:
            problems.append(Problem(key, "a record without title; it is left out"))
    return Parsed(tuple(papers.values()), tuple(_next(root, page.url)), tuple(withdrawals), tuple(problems))


def _paper(record: etree._Element, key: str, base: str) -> Paper | None:
    fields: dict[str, list[str]] = {}
    metadata = first(record, "metadata")
    # Any metadata format that is a list of named texts will do: only leaves are read, by local name.
    for element in metadata.iterdescendants() if metadata is not None else ():
        if not len(element) and (text := _text(element).strip()):
            fields.setdefault(name_of(element), []).append(text)

    def stated(*names: str) -> list[str]:
        return [text for name in names for text in fields.get(name, ())]

    title = plain_text(next(iter(stated("title")), ""))
    if not title:
        return None
    urls = [text for text in stated("identifier") if text.startswith("http")]
    arxiv = key.rpartition(":")[2] if key.lower().startswith("oai:arxiv.org:") else ""
    return Paper(
        key=key,
        url=next((url for url in (join(base, text) for text in urls) if url), "") or (f"https://arxiv.org/abs/{arxiv}" if arxiv else base),
        doi=next((doi for doi in map(doi_in, stated("doi", "identifier", "relation")) if doi), ""),
        journal=plain_text(next(iter(stated("publisher")), "")) if "source" in fields else "",
        date=min((day for day in map(date_in, stated("date", "created")) if day), default=None),
        title=title,
        abstract=plain_text(next(iter(stated("description", "abstract")), "")),
        licence=next((name for name in map(spdx, stated("license", "rights")) if name), ""),
        language=next((name for name in map(language_in, stated("language")) if name), ""),
    )


def _next(root: etree._Element, url: str) -> Iterator[Link]:
    token = next((clean(_text(element)) for element in descendants(root, "resumptiontoken")), "")
    if token:
        parts = urlsplit(url)
        verb = parse_qs(parts.query).get("verb", ["ListRecords"])[0]
        yield Link(urlunsplit(parts._replace(query=urlencode({"verb": verb, "resumptionToken": token}))), "api")


def _text(element: etree._Element | None) -> str:
    return "".join(element.itertext()) if element is not None else ""
