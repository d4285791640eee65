from types import SimpleNamespace

import pytest
from scrapy import Request
from scrapy.http import Response

from assets.papers.crawl.guard.bot_walls import WALLS_UNTIL_LEFT_ALONE, BotWalls, wall_in
from assets.papers.crawl.refusal import Refused

HTML = {b"content-type": b"text/html; charset=utf-8"}
CHALLENGE = b"<html><head><title>Just a moment...</title></head><body><script src='/cdn-cgi/challenge-platform/x.js'></script></body></html>"
CAPTCHA = b"<html><head><title>Imaginary Letters</title></head><body><form><div class='g-recaptcha' data-sitekey='x'></div></form></body></html>"
PAPER_ON_CAPTCHAS = (
    b"<html><head><title>Just a moment: captchas considered</title><meta name='citation_title' content='Captchas considered'></head>"
    b"<body><p>Are you human?</p><form><div class='g-recaptcha'></div></form></body></html>"
)


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (403, HTML, CHALLENGE, "challenge"),
        (200, HTML, CHALLENGE, "challenge"),
        (200, HTML, CAPTCHA, "captcha"),
        (403, HTML | {b"cf-mitigated": b"challenge"}, b"", "cf-mitigated"),
        (403, HTML, b"<html><title>Access Denied</title>Reference #18</html>", "access denied"),
        (200, HTML, b"<html><script src='https://geo.captcha-delivery.com/c.js'></script></html>", "captcha-delivery"),
    ],
)
def test_a_wall_is_recognised_and_told_why(status: int, headers: dict[bytes, bytes], body: bytes, words: str) -> None:
    assert words in wall_in(status, headers, body).lower()


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, HTML, PAPER_ON_CAPTCHAS),
        (200, HTML, b"<html><title>Access denied: an essay</title><p>" + b"long words " * 100 + b"</p></html>"),
        (404, HTML, b"<html><title>Not found</title></html>"),
        (200, HTML, b"<html><body>" + b"a paper with a comment form " * 50 + b"<div class='h-captcha'></div></body></html>"),
        (200, {b"content-type": b"image/png"}, b"\x89PNG cf-chl-"),
        (200, HTML, b""),
    ],
)
def test_a_page_is_no_wall(status: int, headers: dict[bytes, bytes], body: bytes) -> None:
    assert wall_in(status, headers, body) == ""


def test_a_host_that_keeps_its_wall_up_is_left_alone() -> None:
    walls = BotWalls(SimpleNamespace())
    request = Request("http://walled.example/a")
    for _ in range(WALLS_UNTIL_LEFT_ALONE):
        assert walls.process_request(request) is None
        with pytest.raises(Refused, match="proof of being human") as refused:
            walls.process_response(request, Response(request.url, status=403, headers={"Content-Type": "text/html"}, body=CHALLENGE))
        assert refused.value.kind == "bot_wall"

    with pytest.raises(Refused, match="left alone until the next crawl"):
        walls.process_request(request)
    assert walls.process_request(Request("http://open.example/a")) is None


def test_one_good_answer_forgives_what_came_before() -> None:
    walls = BotWalls(SimpleNamespace())
    request = Request("http://moody.example/a")
    for _ in range(WALLS_UNTIL_LEFT_ALONE):
        with pytest.raises(Refused):
            walls.process_response(request, Response(request.url, status=403, body=CHALLENGE))
        good = Response(request.url, status=200, headers={"Content-Type": "text/html"}, body=b"<html><body>" + b"words " * 200 + b"</body></html>")
        assert walls.process_response(request, good) is good
    assert walls.process_request(request) is None
