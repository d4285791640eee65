"""Dependencies on a server: checked as DVC checks them, never touched, and a clear word when nobody answers. The server is ours, on loopback."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration.bridge.materialize import StageFailed
from orchestration.bridge.mirror import report_outside_changes
from tests.orchestration.bridge.toy import build

# DVC leaves its HTTP sessions to the garbage collector.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


class Served:
    """Files over HTTP with their md5 as ETag; `methods` are those that were asked for."""

    def __init__(self, folder: Path) -> None:
        self.methods: set[str] = set()
        served = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

            def end_headers(self) -> None:
                served.methods.add(self.command)
                path = Path(self.translate_path(self.path))
                if path.is_file():
                    self.send_header("ETag", f'"{hashlib.md5(path.read_bytes()).hexdigest()}"')
                super().end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "words.txt").write_text("one\n")
    served = Served(folder)
    yield served
    served.stop()


def test_an_output_on_a_server_is_left_to_dvc(tmp_path: Path) -> None:
    address = "http://127.0.0.1:9/made.txt"
    toy = build(tmp_path / "toy", {"dvc.yaml": f"stages:\n  sent:\n    cmd: touch ran\n    outs: [{{'{address}': {{cache: false}}}}]\n"})

    assert [cause.text for cause in toy.status()["sent"].causes] == ["never made: dvc.lock has no entry for it"]
    with pytest.raises(StageFailed, match=r"sent: its output http://.* lies on a server; such a stage is made with `dvc repro sent` only"):
        toy.make("sent")
    assert not (toy.root / "ran").exists()


def test_an_input_on_a_server_is_judged_by_its_etag_and_never_touched(served: Served, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    address, file = f"{served.address}/words.txt", tmp_path / "served/words.txt"
    toy = build(
        tmp_path / "toy",
        {
            ".gitignore": "/.figment\n",
            "dvc.yaml": f"stages:\n  fetched:\n    cmd: date +%N > fetched.txt\n    deps: ['{address}']\n    outs: [fetched.txt]\n"
            "  counted:\n    cmd: wc -c fetched.txt > counted.txt\n    deps: [fetched.txt]\n    outs: [counted.txt]\n",
        },
    )

    def found() -> dict[str, set[str]]:
        report_outside_changes(instance, toy.project())
        return {"bridge": toy.stale(), "Dagster": toy.dagster_stale(instance), "DVC": toy.dvc_stale()}

    toy.make_all()
    assert found() == {"bridge": set(), "Dagster": set(), "DVC": set()}
    toy.repro()
    assert found() == {"bridge": set(), "Dagster": set(), "DVC": set()}

    file.write_text("one\ntwo\n")
    assert found() == {"bridge": {"fetched"}, "Dagster": {"fetched"}, "DVC": {"fetched"}}
    assert toy.make("fetched").how == "ran"
    toy.make_all()
    assert found() == {"bridge": set(), "Dagster": set(), "DVC": set()}
    assert toy.repro(dry=True) == set()

    assert served.methods <= {"GET", "HEAD"} and file.read_text() == "one\ntwo\n"
    served.stop()
    assert found() == {"bridge": {"fetched"}, "Dagster": {"fetched"}, "DVC": {"fetched"}}
    (cause,) = toy.status()["fetched"].causes
    assert cause.text == f"{address} cannot be reached, or is gone: offline, or its server is"
    with pytest.raises(StageFailed, match=r"fetched: http://.* cannot be reached"):
        toy.make("fetched")
    assert toy.make("counted").how == "fresh"
