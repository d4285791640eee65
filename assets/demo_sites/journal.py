"""Imaginary Letters: a small journal that does not exist, with its pages, pictures, registry and OAI-PMH interface.

The newer issues look as such pages do in the 2020s (`div.issue-item`, pictures in `data-src` or `src`), the older ones as they did around 2010
(`div.articleBox`, pictures in script calls, ISO-8859-1). What the journal holds is in catalogue.py.
"""

import html
import itertools
import re
from collections.abc import Callable
from datetime import UTC, datetime, time

from assets.demo_sites import registry
from assets.demo_sites.catalogue import CODE, FIRST_DAY, LICENCE, NAME, PREFIX, SEED, Article, Issue, edition, picture
from assets.demo_sites.exchange import Request, Response, error_page, text
from assets.demo_sites.oai import OaiRecord, OaiRepository

JOURNAL_HOST, API_HOST, OAI_HOST = "journal.imaginary-letters.example", "api.imaginary-letters.example", "oai.imaginary-letters.example"
JOURNAL = f"http://{JOURNAL_HOST}"
_ROBOTS = {
    JOURNAL_HOST: "# Crawlers are welcome where readers are.\nUser-agent: *\nDisallow: /action/\n",
    API_HOST: "User-agent: *\nAllow: /works\n",
    OAI_HOST: "User-agent: *\nAllow: /oai\n",
}
# A transparent picture of one pixel: what stands in `src` until a script has put the picture there.
_PLACEHOLDER = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


class ImaginaryLetters:
    """One edition of the journal. What is served depends on the edition alone."""

    hosts = (JOURNAL_HOST, API_HOST, OAI_HOST)

    def __init__(self, number: int = 1) -> None:
        self.edition = edition(number)
        self._by_doi = {article.doi: article for article in self.edition.articles.values()}
        self._gone = {article.doi for article in self.edition.withdrawn.values()}
        self._by_picture = {article.picture_name: article for article in self.edition.articles.values() if article.picture_name}
        self._issues = {(issue.volume, issue.number): issue for issue in self.edition.issues}
        self._routes: list[tuple[re.Pattern[str], Callable[..., Response]]] = [
            (re.compile(r"/"), self._list_of_issues),
            (re.compile(rf"/loi/{CODE}"), self._list_of_issues),
            (re.compile(rf"/toc/{CODE}/(\d+)/(\d+)"), self._issue_page),
            (re.compile(rf"/doi/(?:abs/|full/)?({re.escape(PREFIX)}/[^/]+)"), self._article_page),
            (re.compile(rf"/cms/({re.escape(PREFIX)}/[^/]+)/asset/images/medium/([^/]+)"), self._picture),
        ]

    def now(self) -> datetime:
        return self.edition.now

    def respond(self, request: Request) -> Response:
        # Three hosts in one site: the journal, the registry of its DOIs, and its OAI-PMH repository.
        if request.path == "/robots.txt":
            return text(_ROBOTS[request.host])
        if request.host == API_HOST:
            return self._registry(request)
        if request.host == OAI_HOST:
            return self._oai.answer(request.query, self.now()) if request.path == "/oai" else error_page(404, "The records are at /oai.")
        for pattern, answer in self._routes:
            if found := pattern.fullmatch(request.path):
                return answer(*found.groups())
        return error_page(404, "This page has not been imagined.")

    def _registry(self, request: Request) -> Response:
        if request.path == "/works":
            return registry.works(self.edition, request.query, journal=JOURNAL)
        if request.path.startswith("/works/"):
            return registry.work(self.edition, request.path.removeprefix("/works/"), journal=JOURNAL)
        return error_page(404, "The works are at /works.")

    @property
    def _oai(self) -> OaiRepository:
        withdrawn_on = {retraction.number: retraction.edition for retraction in self.edition.retractions}
        records = []
        for number, article in sorted({**self.edition.articles, **self.edition.withdrawn}.items()):
            identifier = f"oai:{JOURNAL_HOST}:{article.doi}"
            if number in withdrawn_on:
                records.append(OaiRecord(identifier, edition(withdrawn_on[number]).now.date(), None))
            else:
                records.append(OaiRecord(identifier, article.day, _dublin_core(article)))
        return OaiRepository(NAME, f"http://{OAI_HOST}/oai", records)

    def _list_of_issues(self) -> Response:
        newest_first = sorted(self.edition.issues, reverse=True)
        # Newest first, by volume, as publishers' lists are.
        parts = [f"<h1>{NAME}</h1>", "<p>A journal of chemistry that has not happened. Everything on this site is made up.</p>", '<div class="loi">']
        for (volume, year), issues in itertools.groupby(newest_first, key=lambda issue: (issue.volume, issue.year)):
            links = "".join(
                f'<li class="parent-item"><a href="/toc/{CODE}/{issue.volume}/{issue.number}">Volume {issue.volume}, Issue {issue.number}</a> '
                f"<span>{issue.day:%B %-d, %Y}</span></li>"
                for issue in issues
            )
            parts.append(f'<div class="loi-volume"><h2>Volume {volume} ({year})</h2><ul class="rlist">{links}</ul></div>')
        parts.append("</div>")
        return _modern_page(f"List of Issues | {NAME}", "\n".join(parts))

    def _issue_page(self, volume: str, number: str) -> Response:
        issue = self._issues.get((int(volume), int(number)))
        if issue is None:
            return error_page(404, "This issue has not been imagined.")
        articles = self.edition.issues[issue]
        return _old_issue(issue, articles, self._neighbours(issue)) if issue.is_old else _new_issue(issue, articles, self._neighbours(issue))

    def _neighbours(self, issue: Issue) -> tuple[Issue | None, Issue | None]:
        """The issues before and after."""
        everything = list(self.edition.issues)
        place = everything.index(issue)
        return (everything[place - 1] if place else None), (everything[place + 1] if place + 1 < len(everything) else None)

    def _article_page(self, doi: str) -> Response:
        # 410 and not 404: a publisher who withdraws a paper says so for good, and a reader may believe it at once.
        if doi in self._gone:
            return error_page(410, "This paper has been retracted, and so it is no longer here.")
        article = self._by_doi.get(doi)
        if article is None:
            return error_page(404, "This paper has not been imagined.")
        return _article_page(article)

    def _picture(self, doi: str, name: str) -> Response:
        article = self._by_picture.get(name)
        if article is None or article.doi != doi:
            return error_page(410 if doi in self._gone else 404, "There is no picture here.")
        # Some pictures are faulty on purpose; a missing one has an address all the same, as on real sites.
        drawn = picture(article.number)
        if not drawn.body:
            return error_page(404, "The picture was lost in the move.")
        return Response(drawn.body, drawn.content_type, last_modified=datetime.combine(article.day, time(), UTC))


def _marked_up(words: str) -> str:
    """HTML of `words`: what Unicode writes as a subscript digit is written as pages write it."""
    return re.sub("[₀-₉]+", lambda found: f"<sub>{found[0].translate(_SUBSCRIPTS)}</sub>", html.escape(words, quote=False))


def _attribute(words: str) -> str:
    return html.escape(words.translate(_SUBSCRIPTS))


def _picture_address(article: Article) -> str:
    return f"/cms/{article.doi}/asset/images/medium/{article.picture_name}"


def _modern_page(title: str, body: str, *, head: str = "") -> Response:
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n{head}</head>\n<body>\n'
        f'<header class="header"><a href="/loi/{CODE}">{NAME}</a></header>\n<main>\n{body}\n</main>\n'
        f'<footer>Invented by a program; <a rel="license" href="http://creativecommons.org/publicdomain/zero/1.0/">{LICENCE}</a>.</footer>\n</body></html>\n'
    )
    return Response(page.encode())


def _new_issue(issue: Issue, articles: list[Article], neighbours: tuple[Issue | None, Issue | None]) -> Response:
    items = "\n".join(_issue_item(article) for article in articles)
    # Newer issues link their neighbours, so that a reader who starts anywhere finds them all.
    before, after = neighbours
    steps = "".join(
        f'<a class="content-navigation__{word}" href="/toc/{CODE}/{other.volume}/{other.number}">{words}</a>'
        for other, word, words in ((before, "btn--pre", "Previous Issue"), (after, "btn--next", "Next Issue"))
        if other
    )
    body = (
        f'<div class="issue-banner"><h1>{NAME}</h1><span class="coverDate">{issue.day:%B %-d, %Y}</span> '
        f'<span class="volume">Volume {issue.volume}</span>, <span class="issue">Issue {issue.number}</span></div>\n'
        f'<nav class="content-navigation">{steps}</nav>\n<div class="toc"><h2 class="toc__heading">Letters</h2>\n{items}\n</div>'
    )
    return _modern_page(f"{NAME} | Vol {issue.volume}, No {issue.number}", body)


def _issue_item(article: Article) -> str:
    """Two ages of the same markup: until 2024 a script puts the picture in place of a placeholder, since then it is there from the beginning."""
    written, issue = article.written, article.issue
    address = f"/doi/{article.doi}"
    image = ""
    if article.picture_name:
        source = _picture_address(article)
        waiting = f'src="{_PLACEHOLDER}" data-src="{source}"' if issue.year < 2025 else f'src="{source}"'
        image = f'<div class="issue-item_img"><img class="lazy" {waiting} alt="Abstract Image"></div>\n'
    abstract = (
        f'<div class="accordion"><a href="#" class="accordion__control" title="Abstract">Abstract</a>'
        f'<div class="accordion__content toc-item__abstract"><span class="hlFld-Abstract"><p>{_marked_up(written.abstract)}</p></span></div></div>\n'
        if written.abstract
        else ""
    )
    authors = "".join(f'<li><span class="hlFld-ContribAuthor">{html.escape(name)}</span></li>' for name in written.authors)
    return (
        '<div class="issue-item clearfix">\n'
        f'<h3 class="issue-item_title"><a href="{address}" title="{_attribute(written.title)}">{_marked_up(written.title)}</a></h3>\n'
        f'{image}<div class="issue-item_metadata"><ul class="issue-item_loa" aria-label="author">{authors}</ul>\n'
        f'<div class="issue-item_info"><span class="issue-item_jour-name"><i>{NAME}</i></span> '
        f'<span class="issue-item_year">{issue.year}</span>, <span class="issue-item_vol-num">{issue.volume}</span>, '
        f'<span class="issue-item_issue-num">{issue.number}</span>, <span class="issue-item_page-range">{article.pages}</span> '
        f'(<span class="issue-item_type">{"Editorial" if article.is_editorial else "Letter"}</span>) '
        f'<span class="pub-date-label">Publication Date (Web)</span>: <span class="pub-date-value">{article.day:%B %-d, %Y}</span></div>\n'
        f'<span class="issue-item_doi">DOI: {article.doi}</span></div>\n{abstract}'
        f'<ul class="issue-item_footer"><li><a href="/action/showCitFormats?doi={article.doi}">Export citation</a></li></ul>\n</div>'
    )


def _old_issue(issue: Issue, articles: list[Article], neighbours: tuple[Issue | None, Issue | None]) -> Response:
    boxes = "\n".join(_article_box(article) for article in articles)
    before, after = neighbours
    steps = "".join(
        f'<a href="/toc/{CODE}/{other.volume}/{other.number}" class="{word}">{words}</a>\n'
        for other, word, words in ((before, "previous", "Previous"), (after, "next", "Next"))
        if other
    )
    page = (
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
        f'<html xmlns="http://www.w3.org/1999/xhtml"><head><meta http-equiv="Content-Type" content="text/html; charset=ISO-8859-1" />'
        f"<title>{NAME}: Volume {issue.volume}, Issue {issue.number}</title></head>\n<body>\n"
        f'<div id="tocMeta"><div id="date">{issue.day:%B %-d, %Y}</div><div>Volume {issue.volume}, Issue {issue.number}</div>'
        f"<div>Pages {articles[0].first_page if articles else 0}&ndash;{articles[-1].last_page if articles else 0}</div></div>\n"
        f'<div id="issueNav">{steps}<a href="/loi/{CODE}" class="loi">List of Issues</a></div>\n'
        f'<div id="tocContent">\n{boxes}\n</div>\n</body></html>\n'
    )
    return Response(page.encode("latin-1", "xmlcharrefreplace"), "text/html; charset=ISO-8859-1")


def _article_box(article: Article) -> str:
    written = article.written
    figure = ""
    if article.picture_name:
        # The old pages write their picture by a script: no element has its address.
        figure = (
            '<div class="figure"><script type="text/javascript">\n'
            f"genFigure('{_picture_address(article)}', 'Abstract Image', '{article.doi}');\n</script></div>\n"
        )
    abstract = f'<div class="articleAbstract"><p>{_marked_up(written.abstract)}</p></div>\n' if written.abstract else ""
    pages = f"pp {article.pages}" if article.last_page > article.first_page else f"p {article.pages}"
    return (
        '<div class="articleBox">\n'
        f'<input type="checkbox" name="doi" value="{article.doi}" />\n'
        f'<div class="articleBoxMeta"><div class="titleAndAuthor"><h2><a href="/doi/abs/{article.doi}">{_marked_up(written.title)}</a></h2>\n'
        f'<div class="articleAuthors">{html.escape(", ".join(written.authors))}</div></div>\n'
        f'<div class="coverdate">{pages}</div>\n<div class="epubdate">Publication Date (Web): {article.day:%B %-d, %Y} (Letter)</div>\n'
        f'<div class="DOI"><strong>DOI:</strong> {article.doi}</div></div>\n{figure}{abstract}'
        f'<div class="articleLinksIcons"><a class="articleLink" href="/doi/abs/{article.doi}">Abstract</a></div>\n</div>'
    )


def _article_page(article: Article) -> Response:
    written, issue = article.written, article.issue
    # Highwire and Dublin Core side by side, as on real pages; readers have to choose.
    meta = [
        ("citation_journal_title", NAME),
        ("citation_title", written.title),
        ("citation_doi", article.doi),
        ("citation_volume", str(issue.volume)),
        ("citation_issue", str(issue.number)),
        ("citation_firstpage", str(article.first_page)),
        ("citation_lastpage", str(article.last_page)),
        ("citation_publication_date", f"{article.day:%Y/%m/%d}"),
        ("citation_language", "en"),
        *[("citation_author", name) for name in written.authors],
        ("dc.Title", written.title),
        ("dc.Identifier", article.doi),
        ("dc.Date", f"{article.day}"),
        ("dc.Rights", "http://creativecommons.org/publicdomain/zero/1.0/"),
    ]
    if written.abstract:
        meta += [("citation_abstract", written.abstract), ("dc.Description", written.abstract)]
    head = "".join(f'<meta name="{name}" content="{_attribute(value)}">\n' for name, value in meta)
    figure = abstract = ""
    if article.picture_name:
        head += f'<meta property="og:image" content="{JOURNAL}{_picture_address(article)}">\n'
        figure = f'<figure class="article_abstract-img"><img src="{_picture_address(article)}" alt="Abstract Image"></figure>\n'
    if written.abstract:
        abstract = f'<h2>Abstract</h2>\n<p class="articleBody_abstractText">{_marked_up(written.abstract)}</p>\n'
    body = (
        f'<article><h1 class="article_header-title">{_marked_up(written.title)}</h1>\n'
        f'<p class="loa">{html.escape(", ".join(written.authors))}</p>\n'
        f"<p><i>{NAME}</i> <b>{issue.year}</b>, {issue.volume} ({issue.number}), {article.pages}. DOI: {article.doi}</p>\n"
        f"{figure}{abstract}</article>"
    )
    page = _modern_page(f"{written.title} | {NAME}", body, head=head)
    return Response(
        page.body, page.content_type, last_modified=datetime.combine(max(article.day, FIRST_DAY), time(), UTC) if not article.revision else None
    )


def _dublin_core(article: Article) -> tuple[tuple[str, str], ...]:
    written = article.written
    fields = [
        ("title", written.title),
        *[("creator", name) for name in written.authors],
        ("description", written.abstract),
        ("date", str(article.day)),
        ("type", "Text"),
        ("identifier", f"{JOURNAL}/doi/{article.doi}"),
        ("identifier", f"doi:{article.doi}"),
        ("source", f"{NAME}, {article.issue.volume} ({article.issue.number}), {article.pages}"),
        ("language", "en"),
        ("rights", "http://creativecommons.org/publicdomain/zero/1.0/"),
    ]
    return tuple(field for field in fields if field[1])


__all__ = ["API_HOST", "JOURNAL_HOST", "OAI_HOST", "SEED", "ImaginaryLetters"]
