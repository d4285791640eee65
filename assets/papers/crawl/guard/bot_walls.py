"""Recognise a page that asks whether one is human. Nothing gets round it: it is reported, and a host that keeps showing it is left alone."""

import re
from collections import Counter
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response

from assets.papers.crawl.guard import Middleware
from assets.papers.crawl.refusal import Refused

# So many walls in a row from one host, and it is not asked again in this crawl.
WALLS_UNTIL_LEFT_ALONE = 3
_HEAD_BYTES = 65_536
# Headers by which the keeper of a wall says what it did.
_HEADERS = ((b"cf-mitigated", b"challenge"), (b"x-datadome", b"protected"), (b"x-amzn-waf-action", b"captcha"), (b"x-amzn-waf-action", b"challenge"))
# None of these passes a second `<`: a page of beginnings without ends is read once, and not once a beginning.
# What only a wall has in it. Words alone condemn no page: papers are written about captchas, too.
_MACHINERY = re.compile(
    rb"/cdn-cgi/challenge-platform/|cf[-_]chl[-_]|_Incapsula_Resource|captcha-delivery\.com|px-captcha|perimeterx|/_sec/cp_challenge/"
    rb"|awsWafCookieDomainList|ddos-guard\.net/check|validate\.perfdrive\.com|geo\.captcha-delivery",
    re.IGNORECASE,
)
_WIDGET = re.compile(rb"class=[\"'][^\"']*\b(?:g-recaptcha|h-captcha|cf-turnstile)\b", re.IGNORECASE)
_TITLE = re.compile(
    rb"<title[^<>]*>\s*(?:just a moment|attention required|access denied|are you (?:a )?(?:robot|human)|verify(?:ing)? (?:that )?you are (?:a )?human"
    rb"|robot check|security check|pardon our interruption|human verification|please wait|checking your browser|ddos protection)",
    re.IGNORECASE,
)
_TAG = re.compile(rb"<(/?)([A-Za-z]*)[^<>]*>")
_UNREAD = frozenset({b"script", b"style", b"noscript"})
# A page that describes itself as an article is one, whatever widget its comment form has.
_ARTICLE = re.compile(rb"<meta[^<>]+name=[\"']?(?:citation_title|dc\.title)|class=[\"'][^\"']*issue-item", re.IGNORECASE)


def wall_in(status: int, headers: dict[bytes, bytes], body: bytes) -> str:
    """What makes the response a bot wall, in words; "" when it is none.

    headers: names in lower case. body: without content encodings; only its beginning is looked at.
    """
    # A header of the wall itself is certain. Otherwise two signs have to meet, or one in a page that hardly holds anything else.
    for name, value in _HEADERS:
        if value in headers.get(name, b"").lower():
            return f"the header {name.decode()} says {value.decode()}"
    if b"html" not in headers.get(b"content-type", b"html") or not body:
        return ""
    head = body[:_HEAD_BYTES]
    machinery, title, widget = _MACHINERY.search(head), _TITLE.search(head), _WIDGET.search(head)
    if _ARTICLE.search(head):
        return ""
    if machinery and (status != 200 or title or len(body) < _HEAD_BYTES):
        return f"it holds {machinery[0].decode('latin-1')[:40]}, which only a challenge has"
    if title and (widget or status in {401, 403, 405, 429, 503}):
        return f"its title is {title[0].decode('latin-1').rpartition('>')[2].strip()[:40]!r}"
    if widget and len(_text(head)) < 400:
        return "it holds a captcha and hardly anything else"
    return ""


class BotWalls(Middleware):
    """A wall is refused with the words that say what it was."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._walls: Counter[str] = Counter()

    def process_request(self, request: Request) -> None:
        host = urlsplit(request.url).hostname or ""
        if self._walls[host] >= WALLS_UNTIL_LEFT_ALONE:
            raise Refused(
                "bot_wall", f"{host} asked {WALLS_UNTIL_LEFT_ALONE} times in a row whether this is a human; it is left alone until the next crawl"
            )

    def process_response(self, request: Request, response: Response) -> Response:
        host = urlsplit(request.url).hostname or ""
        headers = {name.lower(): b", ".join(values) for name, values in response.headers.items()}
        if words := wall_in(response.status, headers, response.body):
            self._walls[host] += 1
            raise Refused("bot_wall", f"the site asks for a proof of being human ({words}); ask its publisher for access, or take the source out")
        if response.status < 400:
            self._walls[host] = 0
        return response


def _text(markup: bytes) -> str:
    """The words of a page, roughly."""
    # Tag by tag: inside of a script everything is skipped up to its end, which is looked for once.
    kept, place, inside = [], 0, b""
    for tag in _TAG.finditer(markup):
        name = tag[2].lower()
        if not inside:
            kept.append(markup[place : tag.start()])
            inside = name if name in _UNREAD and not tag[1] else b""
        elif tag[1] and name == inside:
            inside = b""
        place = tag.end()
    kept.append(b"" if inside else markup[place:])
    return " ".join(b" ".join(kept).decode("utf-8", "replace").split())
