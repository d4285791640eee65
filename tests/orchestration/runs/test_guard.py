import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from orchestration.runs.guard import TOKEN_PARAMETER, Guard, hosts_of

TOKEN = "the-token-of-this-start-0123456789"
HERE = "http://127.0.0.1:3000"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


class Site:
    """A server that notes what reached it, and a client as a browser or a program would be."""

    def __init__(self) -> None:
        self.reached: list[str] = []

        async def page(request):
            self.reached.append(f"{request.method} {request.url.path}")
            return PlainTextResponse("secret", headers={"Content-Security-Policy": "default-src 'self'"})

        async def channel(websocket):
            self.reached.append("WS")
            await websocket.accept()
            await websocket.send_text("secret")
            await websocket.close()

        routes = [WebSocketRoute("/graphql", channel), Route("/{path:path}", page, methods=["GET", "HEAD", "POST", "PUT", "DELETE"])]
        guard = Guard(Starlette(routes=routes), token=TOKEN, hosts=hosts_of(3000))
        self.client = TestClient(guard, base_url=HERE, follow_redirects=False)

    def let_in(self) -> "Site":
        self.client.get(f"/?{TOKEN_PARAMETER}={TOKEN}")
        return self


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_printed_address_lets_in_and_leaves_no_token_behind(site):
    answer = site.client.get(f"/runs/a%20b?{TOKEN_PARAMETER}={TOKEN}&view=all")

    assert (answer.status_code, answer.headers["location"]) == (303, "/runs/a%20b?view=all")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert site.reached == []
    assert site.client.get("/runs/a%20b").text == "secret"


@pytest.mark.parametrize("path", ["//elsewhere.example/", "/\\elsewhere.example", "///x"])
def test_the_way_back_stays_on_this_server(site, path):
    answer = site.client.get(f"{HERE}{path}?{TOKEN_PARAMETER}={TOKEN}")

    assert answer.headers["location"].startswith("/") and not answer.headers["location"].startswith(("//", "/\\"))


@pytest.mark.parametrize("given", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ä" * 40])
def test_without_the_token_nothing_is_reached(site, given):
    assert site.client.get("/", params={TOKEN_PARAMETER: given}).status_code == 401
    assert site.client.get("/", headers={"Authorization": f"Bearer {given}".encode()}).status_code == 401
    assert site.client.post("/graphql", headers=JSON, json={}).status_code == 401
    assert site.reached == []


def test_a_refusal_says_what_to_do_and_offers_the_same_page(site):
    answer = site.client.get("/assets/<b>?a=1&b=%22")

    assert "`figment up` printed" in answer.text
    assert '<a href="/assets/%3Cb%3E?a=1&amp;b=%22">' in answer.text


@pytest.mark.parametrize("host", ["evil.example:3000", "127.0.0.1:3001", "127.0.0.1", "127.0.0.1:3000.evil.example", ""])
def test_a_host_of_another_name_is_refused_even_with_the_token(site, host):
    answer = site.let_in().client.get("/", headers={"Host": host, **BEARER})

    assert answer.status_code == 421 and site.reached == []


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "[::1]:3000"])
def test_a_program_with_the_token_needs_no_cookie(site, host):
    assert site.client.post("/report", headers={"Host": host, **BEARER}).text == "secret"


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": HERE, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_page_changes_nothing_although_the_browser_has_the_cookie(site, method, sent):
    assert site.let_in().client.request(method, "/report", headers=sent).status_code == 403
    assert site.reached == []


@pytest.mark.parametrize("destination", ["image", "iframe", "script", "empty", "object"])
def test_another_page_shows_nothing_of_this_server_within_itself(site, destination):
    sent = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate" if destination in ("iframe", "object") else "no-cors"}

    assert site.let_in().client.get("/logs/x", headers={**sent, "Sec-Fetch-Dest": destination}).status_code == 403


def test_a_link_on_another_page_may_be_followed(site):
    link = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

    assert site.let_in().client.get("/runs/1", headers=link).text == "secret"


def test_the_pages_themselves_work(site):
    own = {"Origin": HERE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}

    assert site.let_in().client.post("/graphql", headers={**own, **JSON}, json={}).text == "secret"
    with site.client.websocket_connect("ws://127.0.0.1:3000/graphql", headers={"Origin": HERE}) as channel:
        assert channel.receive_text() == "secret"


def test_graphql_is_asked_by_post_and_json_alone(site):
    site.let_in()
    own = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}

    assert site.client.get("/graphql", params={"query": "mutation { wipe }"}, headers=own).status_code == 405
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""):
        answer = site.client.post("/ajax-api/2.0/mlflow/graphql", content=b"{}", headers={**own, "Content-Type": kind})
        assert answer.status_code == 415, kind
    assert site.reached == []


@pytest.mark.parametrize("sent", [{}, {"Origin": "http://evil.example"}, {"Host": "evil.example", **BEARER}, {"Origin": "null", **BEARER}], ids=str)
def test_a_channel_is_not_opened_for_others(site, sent):
    if "Origin" in sent:
        site.let_in()

    with pytest.raises(WebSocketDisconnect), site.client.websocket_connect("ws://127.0.0.1:3000/graphql", headers=sent):
        pass
    assert site.reached == []


def test_no_page_may_frame_these(site):
    answer = site.let_in().client.get("/")

    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'", "frame-ancestors 'none'"]
    assert answer.headers["x-frame-options"] == "DENY"


def test_a_proxy_in_front_is_let_in_by_its_name_and_the_token_it_adds(site):
    lab = Guard(site.client.app._application, token=TOKEN, hosts=hosts_of(3000, ["figment.lab.example"]))
    client = TestClient(lab, base_url="http://figment.lab.example")

    assert client.post("/report", headers={"Origin": "https://figment.lab.example", **BEARER}).text == "secret"
    assert client.post("/report", headers={"Origin": "https://evil.lab.example", **BEARER}).status_code == 403


def test_a_cookie_of_somebody_else_that_cannot_be_read_hides_nothing(site):
    site.let_in()
    [cookie] = [f"{cookie.name}={cookie.value}" for cookie in site.client.cookies.jar]

    answer = TestClient(site.client.app, base_url=HERE).get("/", headers={"Cookie": f'bad["x]=1; {cookie}; a'})

    assert answer.text == "secret"


headers = st.dictionaries(
    st.sampled_from(["host", "origin", "cookie", "authorization", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "content-type"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30) | st.sampled_from([HERE, "127.0.0.1:3000", "same-origin", "Bearer x"]),
)


@settings(max_examples=40)
@given(headers, st.sampled_from(["GET", "POST"]), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_whatever_is_sent_without_the_token_gets_a_refusal(sent, method, query):
    site = Site()

    answer = site.client.request(method, "/graphql", params={TOKEN_PARAMETER: query}, headers=sent)

    assert answer.status_code in (401, 421) and site.reached == []
