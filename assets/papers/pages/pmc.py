"""PubMed Central and Europe PMC: what their doors list, articles as JATS XML, and packages that hold an article with its pictures.

    search      Europe PMC's REST interface: …/rest/search?query=OPEN_ACCESS:y…&format=json&resultType=core&pageSize=100&cursorMark=*. The articles of
                the open-access subset are followed as …/PMCID/fullTextXML, whose pictures lie in the package …/PMCID/supplementaryFiles
    list        answers of PMC's OA web service (oa.fcgi), each record with the address of its package; `ftp://` links are asked for by https
    listing     of PMC's S3 bucket: https://pmc-oa-opendata.s3.amazonaws.com/?list-type=2&prefix=PMC1137&max-keys=1000; each article's newest version
    article     JATS XML, whichever of these it comes from
    folder      a web server's listing of packages or articles
    package     tar.gz or zip, such as PMC1137.tar.gz: the article in it, and its pictures by their addresses inside (assets/papers/packages.py)

https://europepmc.org/RestfulWebService, https://pmc.ncbi.nlm.nih.gov/tools/oa-service/, https://pmc.ncbi.nlm.nih.gov/tools/cloud/. NCBI ended the OA
web service and the packages on its FTP server in August 2026 in favour of the bucket; mirrors and saved packages are read as before.
"""

import posixpath
import re
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from lxml import etree

from assets.papers.items import Link, Page, PageKind, Paper, Parsed, Problem, Withdrawal
from assets.papers.packages import FORMATS, PackageError, find_picture, is_package, member_address, member_names, read_members
from assets.papers.pages.article import is_withdrawn_title, paper_fingerprint
from assets.papers.pages.crossref import abstract_text
from assets.papers.pages.facts import date_in, doi_in, fingerprint, join, language_in, licence_by_name
from assets.papers.pages.folder_index import folder_links
from assets.papers.pages.jats import figure_address, read_jats
from assets.papers.pages.markup import BAD_INPUT, children, descendants, first, json_of, name_of, text_of, tolerant, xml_tree
from formats.plain_text import clean, decode, plain_text

_ARTICLE_XML = re.compile(r"\.(?:nxml|xml)$", re.IGNORECASE)
_FULL_TEXT = re.compile(r"/PMC[0-9]+/fullTextXML$")
_BUCKET_KEY = re.compile(r"(?:.*/)?(PMC[0-9]+)\.([0-9]+)/\1\.\2\.xml")
_BUCKET_ARTICLE = re.compile(r"/(PMC[0-9]+\.[0-9]+)/\1\.xml$")
# What lies in a folder of packages.
_FOLDER: dict[str, PageKind] = dict.fromkeys((".gz", ".tgz", ".zip", ".xml", ".nxml"), "article")
# Notices about other papers, by Europe PMC's types of publication.
_NOTICES = {"retraction of publication", "published erratum", "expression of concern", "correction"}
_HEADING = re.compile(r"^\s*<h[1-6]>\s*abstract[.:]?\s*</h[1-6]>", re.IGNORECASE)
_HARMLESS = {"noRecordsMatch"}


@tolerant
def parse(page: Page) -> Parsed:
    """What a list, an article or a package says. Its picture is a graphical abstract, or there is none."""
    return _read(page, first_figure=False)


@tolerant
def parse_first_figure(page: Page) -> Parsed:
    """The same, with the first figure for a picture where there is no graphical abstract."""
    return _read(page, first_figure=True)


def _read(page: Page, *, first_figure: bool) -> Parsed:
    if is_package(page.body):
        return _package(page, first_figure=first_figure)
    text = decode(page.body, page.content_type)
    if page.kind == "index" and text.lstrip()[:15].lower().startswith(("<!doctype html", "<html", "<ul", "[")):
        return Parsed(links=folder_links(page, kinds=_FOLDER))
    if text.lstrip().startswith("{"):
        return _search(page, json_of(text))
    root = xml_tree(text)
    if name_of(root) == "oa":
        return _oa_list(page, root)
    if name_of(root) == "listbucketresult":
        return _bucket(page, root)
    return read_jats(page, first_figure=first_figure, address_of=partial(_picture_beside, page.url))


# Articles


def _picture_beside(url: str, stated: str) -> str:
    """The address of a picture that the article at `url` names, by where that service keeps the pictures of its articles."""
    if _FULL_TEXT.search(url):
        return member_address(url.removesuffix("fullTextXML") + "supplementaryFiles", posixpath.basename(stated))
    kind = stated.rpartition(".")[2].lower()
    if _BUCKET_ARTICLE.search(url) and kind not in ("jpg", "jpeg", "png", "gif"):
        # The bucket has each figure as jpg, whatever the publisher's was.
        stated = (stated.rpartition(".")[0] if kind in FORMATS else stated) + ".jpg"
    return figure_address(stated, url)


def _package(page: Page, *, first_figure: bool) -> Parsed:
    try:
        names = member_names(page.body)
        articles = read_members(page.body, lambda name: bool(_ARTICLE_XML.search(name)))
    except PackageError as error:
        return Parsed(problems=(Problem(page.url, f"a package that is set aside: {error}"),))
    # An article's own name ends in .nxml; other XML lies in packages as supplement, and is passed by.
    for name, body in sorted(articles.items(), key=lambda entry: (not entry[0].lower().endswith(".nxml"), entry[0])):

        def address_of(stated: str, name: str = name) -> str:
            found = find_picture(names, stated, beside=name)
            return member_address(page.url, found) if found else ""

        try:
            parsed = read_jats(page, first_figure=first_figure, body=body, address_of=address_of)
        except BAD_INPUT:
            continue
        if parsed.papers or parsed.withdrawals:
            return parsed
    # Europe PMC's packages hold pictures alone: nothing is missing there.
    if page.kind != "article":
        return Parsed()
    return Parsed(problems=(Problem(page.url, f"a package without a JATS article: {len(names)} members, {len(articles)} of them XML"),))


# Lists


def _search(page: Page, answer: Any) -> Parsed:
    results = answer.get("resultList", {}).get("result")
    if not isinstance(results, list):
        words = "not an answer of Europe PMC's search: expected resultList.result; ask for format=json and resultType=core"
        return Parsed(problems=(Problem(page.url, words),))
    papers, links, problems = [], [], []
    for result in results:
        try:
            if _pub_types(result) & _NOTICES:
                continue
            paper = _found(result)
        except BAD_INPUT as error:
            problems.append(Problem(page.url, f"a result that is none: {type(error).__name__}: {clean(str(error))[:100]}"))
            continue
        if paper is None:
            problems.append(Problem(page.url, f"a result without title or identifier: {clean(str(result.get('id')))[:60]}; it is left out"))
            continue
        papers.append(paper)
        pmcid = _word(result, "pmcid")
        if re.fullmatch(r"PMC[0-9]+", pmcid) and result.get("isOpenAccess") == "Y":
            mark = fingerprint(paper_fingerprint(paper), result.get("dateOfRevision"))
            links.append(Link(page.url.partition("/search?")[0] + f"/{pmcid}/fullTextXML", "article", mark, paper.key))
    return Parsed(tuple(papers), (*links, *_following(page.url, answer)), problems=tuple(problems))


def _found(result: dict[str, Any]) -> Paper | None:
    title = plain_text(_word(result, "title")).removesuffix(".")
    doi, pmcid = doi_in(_word(result, "doi")), _word(result, "pmcid")
    own = f"{_word(result, 'source')}/{_word(result, 'id')}".strip("/")
    if not title or not (doi or own):
        return None
    issue = result.get("journalInfo") or {}
    types = _pub_types(result)
    return Paper(
        key=doi or own,
        url=f"https://europepmc.org/article/{'PMC/' + pmcid if pmcid else own}",
        doi=doi,
        journal=plain_text(_word(issue.get("journal") or {}, "title")),
        volume=plain_text(_word(issue, "volume")),
        issue=plain_text(_word(issue, "issue")),
        pages=plain_text(_word(result, "pageInfo")),
        date=next((day for name in ("electronicPublicationDate", "firstPublicationDate") if (day := date_in(_word(result, name)))), None),
        title=title,
        abstract=abstract_text(_HEADING.sub("", _word(result, "abstractText"))),
        licence=licence_by_name(_word(result, "license")),
        language=language_in(_word(result, "language")),
        status="retracted" if "retracted publication" in types or is_withdrawn_title(title) else "published",
    )


def _pub_types(result: dict[str, Any]) -> set[str]:
    stated = (result.get("pubTypeList") or {}).get("pubType") or []
    return {str(name).lower() for name in ([stated] if isinstance(stated, str) else stated)}


def _following(url: str, answer: dict[str, Any]) -> Iterator[Link]:
    """The next answer of a search; the last one has no mark, or that of the page itself."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    mark = _word(answer, "nextCursorMark")
    if mark and mark != query.get("cursorMark"):
        yield Link(urlunsplit(parts._replace(query=urlencode(query | {"cursorMark": mark}, safe="*:,"))), "api")


def _oa_list(page: Page, root: etree._Element) -> Parsed:
    errors = [error for error in children(root, "error") if error.get("code") not in _HARMLESS]
    problems = [Problem(page.url, f"the OA service answers {error.get('code')}: {text_of(error)[:200]}") for error in errors]
    links, withdrawals = [], []
    for record in descendants(root, "record"):
        stated = next((link for link in children(record, "link") if link.get("format") == "tgz"), None)
        address = join(page.url, _by_https(stated.get("href") or "")) if stated is not None else ""
        if not address:
            problems.append(Problem(page.url, f"record {clean(record.get('id') or '')[:40]} has no package (a link of format tgz); it is left out"))
        elif (record.get("retracted") or "").lower() == "yes":
            # Named by its package's address, under which its paper was read.
            withdrawals.append(Withdrawal(address, "retracted", f"PMC marks {clean(record.get('id') or '')[:40]} as retracted"))
        elif stated is not None:
            links.append(Link(address, "article", fingerprint(stated.get("updated"), record.get("license"))))
    following = first(root, "records", "resumption", "link")
    if following is not None and (url := join(page.url, _by_https(following.get("href") or ""))):
        links.append(Link(url, "api"))
    return Parsed(links=tuple(links), withdrawals=tuple(withdrawals), problems=tuple(problems))


def _by_https(href: str) -> str:
    """NCBI's file server answers by https what its old lists name by ftp."""
    return "https://" + href.removeprefix("ftp://") if href.startswith("ftp://") else href


def _bucket(page: Page, root: etree._Element) -> Parsed:
    newest: dict[str, tuple[int, Link]] = {}
    for entry in descendants(root, "contents"):
        found = _BUCKET_KEY.fullmatch(text_of(first(entry, "key")))
        url = join(page.url, "/" + quote(found[0], safe="/._-")) if found else ""
        if found and url:
            link = Link(url, "article", fingerprint(text_of(first(entry, "etag")), text_of(first(entry, "lastmodified"))))
            newest[found[1]] = max(newest.get(found[1], (0, link)), (int(found[2]), link), key=lambda version: version[0])
    links = [link for _, link in newest.values()]
    if token := text_of(first(root, "nextcontinuationtoken")):
        parts = urlsplit(page.url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True)) | {"continuation-token": token}
        links.append(Link(urlunsplit(parts._replace(query=urlencode(query))), "api"))
    return Parsed(links=tuple(links))


def _word(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
