"""The viewer's server: fixed addresses on this machine, bounded settings, and nobody else's pages."""

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import numpy
import pytest
from PIL import Image

from tests.training.gans.viewer.toy_view import ToyView
from training.gans.viewer.server import ViewerServer


@pytest.fixture
def server() -> Iterator[ViewerServer]:
    with ViewerServer(ToyView()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: ViewerServer, path: str, *, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def pixels(content: bytes) -> numpy.ndarray:
    return numpy.asarray(Image.open(io.BytesIO(content)))


def test_a_picture_follows_its_settings(server: ViewerServer):
    answer, content = ask(server, "/picture.png?lane=a&psi=0.5&mix=0%2C2")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    assert pixels(content).tolist() == [[50] * 4] * 4
    assert float(answer.headers["X-Draw-Ms"]) >= 0
    assert server.model.drawn == [{"seed": 3, "psi": 0.5, "cutoff": 6, "mix": (0, 2)}]


def test_the_page_and_its_parts_come_from_here_alone(server: ViewerServer):
    for path, kind in (("/", "text/html"), ("/viewer.css", "text/css"), ("/viewer.js", "text/javascript")):
        answer, content = ask(server, path)
        assert answer.status == 200 and answer.headers["Content-Type"].startswith(kind)
        assert b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b"") and b"https://" not in content
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    _, content = ask(server, "/model.json")
    told = json.loads(content)
    assert told["name"] == "toy" and [control["name"] for control in told["controls"]] == ["seed", "psi", "cutoff", "mix"]
    assert told["layers"] == [{"name": "in", "channels": 70, "side": 4}] and told["sheet"] == {"columns": 8, "channels": 64}


def test_channels_come_by_the_sheet_or_alone(server: ViewerServer):
    _, sheet = ask(server, "/layer.png?lane=a&layer=0&first=64")
    assert pixels(sheet).shape == (6, 48, 3)
    _, alone = ask(server, "/layer.png?lane=a&layer=0&first=69&count=1")
    assert pixels(alone).shape == (4, 4, 3) and pixels(alone)[0, 0, 0] > pixels(alone)[0, 0, 2]


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/picture.png", 400, "lane: expected up to 40 of a-z, 0-9 and -"),
        ("/picture.png?lane=A", 400, "lane: expected"),
        ("/picture.png?lane=a&psi=9", 400, "psi: expected a number from -1 to 2, found '9'"),
        ("/picture.png?lane=a&layer=0", 400, "nothing is called 'layer'"),
        (f"/picture.png?lane=a&{quote('<b>')}=1", 400, "nothing is called '<b>'"),
        ("/layer.png?lane=a", 400, "layer: expected a whole number from 0 to 0, found ''"),
        ("/layer.png?lane=a&layer=1", 400, "layer: expected"),
        ("/layer.png?lane=a&layer=0&first=70", 400, "first: expected a whole number from 0 to 69, found '70'"),
        ("/layer.png?lane=a&layer=0&count=65", 400, "count: expected a whole number from 1 to 64, found '65'"),
        ("/picture.png?lane=a&seed=666", 500, "it could not be drawn: out of memory"),
        ("/../server.py", 404, "nothing is here"),
        ("/page/index.html", 404, "nothing is here"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(server: ViewerServer, path: str, status: int, reason: str):
    answer, content = ask(server, path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert reason in content.decode() and content.count(b"\n") == 1
    assert ask(server, "/picture.png?lane=a")[0].status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "evil.example:80", "[::1]"])
def test_another_name_for_this_machine_is_refused(server: ViewerServer, host: str):
    answer, content = ask(server, "/model.json", Host=host)
    assert answer.status == 421 and server.address.encode() in content and b"toy" not in content


def test_its_own_names_are_not(server: ViewerServer):
    for name in ("127.0.0.1", "localhost"):
        assert ask(server, "/model.json", Host=f"{name}:{server.server_port}", Sec_Fetch_Site="same-origin")[0].status == 200


def test_another_page_cannot_make_it_draw(server: ViewerServer):
    for site in ("cross-site", "same-site"):
        assert ask(server, "/picture.png?lane=a", Sec_Fetch_Site=site)[0].status == 403
    assert server.model.drawn == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_but_get_is_answered(server: ViewerServer, method: str):
    assert ask(server, "/picture.png?lane=a", method=method)[0].status == 501


def test_of_many_settings_of_one_page_the_newest_is_drawn(server: ViewerServer):
    model = server.model
    model.is_free.clear()
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(ask, server, "/picture.png?lane=a&psi=0")
        assert model.has_begun.wait(30)
        later = []
        for number in range(1, 10):
            later.append(pool.submit(ask, server, f"/picture.png?lane=a&psi=0.{number}"))
            # Nine threads of nine connections: only one after the other are they sure to come in order.
            while server.turns._newest.get("a", 0) < number + 1:
                pass
        overtaken = [asked.result(30)[0].status for asked in later[:-1]]
        model.is_free.set()
        assert overtaken == [409] * 8
        assert first.result(30)[0].status == later[-1].result(30)[0].status == 200
    assert [settings["psi"] for settings in model.drawn] == [0, 0.9] and len(model.threads) == 1


def test_it_listens_on_this_machine_alone_and_refuses_a_taken_port(server: ViewerServer):
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(OSError, match="Address already in use"):
        ViewerServer(ToyView(), server.server_port)


def test_a_page_that_goes_away_leaves_no_trace_on_the_terminal(server: ViewerServer, capfd: pytest.CaptureFixture[str]):
    server.model.is_free.clear()
    with socket.create_connection(("127.0.0.1", server.server_port)) as gone:
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.sendall(f"GET /picture.png?lane=a HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
        assert server.model.has_begun.wait(30)
    server.model.is_free.set()
    assert ask(server, "/picture.png?lane=b")[0].status == 200
    assert capfd.readouterr() == ("", "")
