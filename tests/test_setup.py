"""`make setup` in the surroundings it meets: with and without uv, an index of one's own, an NVIDIA driver, CPU builds of torch; moved and copied.

A tiny project of our own extras is set up by the real Makefile and script, from indexes on loopback that hold wheels of a few hundred bytes.
"""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_wheels import make_wheel

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("bash", "sh", "make", "cat", "sed", "tr", "rm", "touch", "uname")
PYPROJECT = """
[build-system]
requires = []
build-backend = "tiny_wheels"
backend-path = ["."]
[project]
name = "tiny"
version = "1"
[project.optional-dependencies]
all = ["torch", "other"]
chem = ["other"]
"""
NOTES_WHAT_IT_IS_TOLD = f"""#!{sys.executable} -I
import json, os, sys
with open(os.environ["HOME"] + "/told.json", "w") as file:
    json.dump({{"words": sys.argv[1:], "environment": dict(os.environ)}}, file)
"""


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a build of torch for CPUs beside the usual one")


class Index:
    """A package index on loopback that serves the wheels of a folder, the whole of it as one page too; what was asked for by whom is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        self.cuts_off = ""
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            def do_HEAD(self) -> None:
                index.answer(self)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = request.path.strip("/").replace("%2B", "+").replace("%2b", "+")
        client = request.headers["User-Agent"].partition("/")[0]
        self.asked.append((client, path))
        if path.endswith(".whl"):
            body = (self.folder / path.rpartition("/")[2]).read_bytes()
        else:
            names = sorted(wheel.name for wheel in self.folder.glob("*.whl") if path == "page" or wheel.name.startswith(f"{path[7:]}-"))
            body = "".join(f'<a href="/{name.replace("+", "%2B")}">{name}</a>' for name in names).encode()
        request.send_response(200 if body else 404)
        request.send_header("Content-Type", "application/octet-stream" if path.endswith(".whl") else "text/html")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body[: len(body) // 2] if client == self.cuts_off and path.endswith(".whl") else body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def index_of(tmp_path: Path) -> Iterator[Callable[..., Index]]:
    """Makes an index of wheels given as name and version."""
    made: list[Index] = []

    def index_of(*wheels: tuple[str, str]) -> Index:
        folder = tmp_path / f"index{len(made)}"
        folder.mkdir()
        for name, version in wheels:
            make_wheel(folder, name, version)
        made.append(Index(folder))
        return made[-1]

    yield index_of
    for index in made:
        index.close()


@pytest.fixture(scope="session")
def bare_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but pip, to copy: making one takes seconds."""
    folder = tmp_path_factory.mktemp("bare") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


class Place:
    """A checkout of the tiny project, and the machine around it: its programs, its settings, its index."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.root = folder / "project"
        self.index = index
        self._bin = folder / "bin"
        self._bin.mkdir()
        for tool in TOOLS:
            (self._bin / tool).symlink_to(shutil.which(tool) or "")
        self.home = folder / "home"
        self.home.mkdir()
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "Makefile", self.root)
        shutil.copy(ROOT / "scripts/make_venv.sh", self.root / "scripts")
        shutil.copy(ROOT / "tests/tiny_wheels.py", self.root)
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        (self.root / "constraints.txt").write_text("other==1.0\ntorch==2.13.0\n")
        (self.root / "tiny.py").write_text("def where():\n    print(__file__)\n")

    def program(self, name: str, text: str) -> None:
        """Put a script on the PATH."""
        (self._bin / name).write_text(text)
        (self._bin / name).chmod(0o755)

    def real_uv(self) -> None:
        """Put the real uv on the PATH; without one the test is skipped."""
        found = shutil.which("uv") or shutil.which("uv", path=f"{sys.prefix}/uv/bin")
        if found is None:
            pytest.skip("no uv on this machine")
        (self._bin / "uv").symlink_to(found)

    def make(self, *goals: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """`make GOALS`, or `make setup`, with nothing of the surrounding user's environment."""
        environment = {
            "PATH": str(self._bin),
            "HOME": str(self.home),
            "PYTHON": sys.executable,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{self.index.address}/simple/",
            "TORCH_CPU_PAGE": "http://127.0.0.1:9/",
            "UV_HTTP_RETRIES": "0",
        } | settings
        return subprocess.run(["make", *(goals or ["setup"])], cwd=self.root, env=environment, capture_output=True, text=True, timeout=120)

    def set_up(self, **settings: str) -> str:
        """`make setup`, which must succeed; what it said."""
        done = self.make(**settings)
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stderr)
        return done.stderr

    def installed(self) -> dict[str, tuple[str, str]]:
        """Name → version and the program that installed it."""
        found = {}
        for info in self.root.glob(".venv/lib/python*/site-packages/*.dist-info"):
            name, _, version = info.name.removesuffix(".dist-info").partition("-")
            found[name] = (version, (info / "INSTALLER").read_text().strip())
        return {name: facts for name, facts in found.items() if name in ("tiny", "torch", "other")}

    def told_uv(self) -> dict[str, Any]:
        """What a uv that notes what it is told was told: `words` and `environment`."""
        return json.loads((self.home / "told.json").read_text())


@pytest.fixture
def place_with(tmp_path: Path, bare_venv: Path, index_of: Callable[..., Index]) -> Callable[..., Place]:
    """Makes a place whose index holds `other` and the given builds of torch, with a fresh environment."""

    def place_with(*torch: str) -> Place:
        place = Place(tmp_path, index_of(("other", "1.0"), *(("torch", version) for version in torch)))
        shutil.copytree(bare_venv, place.root / ".venv", symlinks=True)
        return place

    return place_with


def by(installer: str, torch: str) -> Mapping[str, tuple[str, str]]:
    return {"tiny": ("1", installer), "torch": (torch, installer), "other": ("1.0", installer)}


def test_without_uv_pip_does_it(place_with):
    place = place_with("2.13.0+cpu")
    said = place.set_up()
    assert "uv could not be had; installing with pip" in said
    assert place.installed() == by("pip", "2.13.0+cpu")


def test_uv_comes_from_the_index_of_pip(place_with):
    place = place_with("2.13.0+cpu")
    make_wheel(place.index.folder, "uv", "1.0", files={"uv-1.0.data/scripts/uv": NOTES_WHAT_IT_IS_TOLD})
    place.set_up()
    words = ["pip", "install", "--python", ".venv/bin/python", "--constraint", "constraints.txt", "--editable", ".[all]"]
    assert place.told_uv()["words"][:-1] == words


def test_uv_takes_packages_from_the_index_that_pip_is_told_of(place_with):
    place = place_with("2.13.0+cpu")
    place.real_uv()
    place.set_up()
    assert place.installed() == by("uv", "2.13.0+cpu")


def test_uv_takes_packages_from_all_places_that_pips_file_names(place_with, index_of, tmp_path):
    place = place_with()
    place.real_uv()
    second = index_of(("torch", "2.13.0"), ("other", "0.9"))
    links = tmp_path / "links"
    links.mkdir()
    make_wheel(links, "torch", "2.13.0+cpu")
    everywhere = f"[global]\nindex-url = {place.index.address}/simple/\nfind-links =\n  {links}\n  {tmp_path}\n"
    (tmp_path / "pip.conf").write_text(f"{everywhere}[install]\nextra-index-url = {second.address}/simple/\n")
    place.set_up(PIP_INDEX_URL="", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert place.installed() == by("uv", "2.13.0+cpu")


def test_what_uv_is_told_itself_is_not_overridden(place_with):
    place = place_with("2.13.0+cpu")
    place.program("uv", NOTES_WHAT_IT_IS_TOLD)
    place.set_up(UV_DEFAULT_INDEX="http://127.0.0.1:9/mine", PIP_EXTRA_INDEX_URL="http://127.0.0.1:9/more", PIP_FIND_LINKS="/one /two")
    told = place.told_uv()["environment"]
    assert (told["UV_DEFAULT_INDEX"], told["UV_INDEX"]) == ("http://127.0.0.1:9/mine", "http://127.0.0.1:9/more")
    assert told["UV_FIND_LINKS"] == "/one,/two"


def test_pip_does_what_uv_cannot_resolve(place_with):
    place = place_with("2.13.0+cpu")
    place.program("uv", "#!/bin/sh\necho 'No solution found when resolving dependencies' >&2; exit 1\n")
    said = place.set_up()
    assert "No solution found" in said and "uv did not manage (see above); installing with pip" in said
    assert place.installed() == by("pip", "2.13.0+cpu")


def test_pip_does_what_uv_cannot_download(place_with):
    place = place_with("2.13.0+cpu")
    place.real_uv()
    place.index.cuts_off = "uv"
    said = place.set_up()
    assert ("uv", "torch-2.13.0+cpu-py3-none-any.whl") in place.index.asked
    assert "installing with pip" in said
    assert place.installed() == by("pip", "2.13.0+cpu")


@pytest.mark.slow
def test_what_neither_can_install_is_an_error_and_tried_again_the_next_time(place_with):
    place = place_with()
    assert place.make().returncode != 0
    make_wheel(place.index.folder, "torch", "2.13.0+cpu")
    place.set_up()
    assert place.installed() == by("pip", "2.13.0+cpu")


NO_DRIVER = "#!/bin/sh\nexit 9\n"
DRIVER = "#!/bin/sh\nexit 0\n"


@pytest.mark.parametrize(
    ("asked", "driver", "offered", "taken", "said"),
    [
        ("auto", None, ["2.13.0", "2.13.0+cpu"], "torch==2.13.0+cpu", "for CPUs (no NVIDIA driver answers here); about 0.6 GB"),
        ("auto", NO_DRIVER, ["2.13.0", "2.13.0+cpu"], "torch==2.13.0+cpu", "for CPUs (no NVIDIA driver answers here)"),
        ("auto", DRIVER, ["2.13.0", "2.13.0+cpu"], "torch==2.13.0,!=2.13.0+cpu", "with CUDA (an NVIDIA driver answers here); about 3.1 GB"),
        ("auto", None, ["2.13.0", "2.13.0+cpu.x", "2.12.0+cpu"], "torch==2.13.0,!=2.13.0+cpu", "offers torch 2.13.0+cpu); about 3.1 GB"),
        ("cpu", DRIVER, ["2.13.0", "2.13.0+cpu"], "torch==2.13.0+cpu", "for CPUs (TORCH=cpu)"),
        ("cuda", None, ["2.13.0", "2.13.0+cpu"], "torch==2.13.0,!=2.13.0+cpu", "with CUDA (TORCH=cuda); about 3.1 GB"),
    ],
)
@on_linux
def test_the_build_of_torch_goes_by_what_is_asked_for_and_by_the_driver(place_with, asked, driver, offered, taken, said):
    place = place_with(*offered)
    place.program("uv", NOTES_WHAT_IT_IS_TOLD)
    if driver:
        place.program("nvidia-smi", driver)
    assert said in place.set_up(TORCH=asked)
    assert place.told_uv()["words"][-1] == taken


@pytest.mark.parametrize("installer", ["uv", "pip"])
@on_linux
def test_where_the_index_has_no_cpu_build_the_page_of_them_is_asked(place_with, index_of, tmp_path, installer):
    place = place_with("2.13.0")
    page = index_of(("torch", "2.13.0+cpu"), ("other", "1.1"))
    if installer == "uv":
        place.real_uv()
    place.set_up(TORCH_CPU_PAGE=f"{page.address}/page", PIP_FIND_LINKS=str(tmp_path))
    assert place.installed() == by(installer, "2.13.0+cpu")


@on_linux
def test_a_cpu_build_that_was_asked_for_and_is_not_to_be_had_is_an_error(place_with):
    place = place_with("2.13.0")
    done = place.make(TORCH="cpu")
    assert done.returncode == 2
    assert "TORCH=cpu, but neither pip's index nor http://127.0.0.1:9/ offers torch 2.13.0+cpu; give a folder or page that does" in done.stderr
    assert place.installed() == {}


def test_another_build_than_the_known_ones_is_refused(place_with):
    done = place_with("2.13.0").make(TORCH="gpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "setup: TORCH is 'gpu'; it can be auto, cpu or cuda" in done.stderr


@on_linux
@pytest.mark.slow
def test_a_build_that_is_there_stays_until_the_other_is_asked_for(place_with):
    place = place_with("2.13.0", "2.13.0+cpu")
    place.set_up()
    assert place.installed()["torch"] == ("2.13.0+cpu", "pip")
    place.program("nvidia-smi", DRIVER)
    (place.root / "pyproject.toml").write_text(PYPROJECT + "# edited\n")
    assert "GB" not in place.set_up()
    assert place.installed()["torch"] == ("2.13.0+cpu", "pip")
    place.set_up(TORCH="cuda")
    assert place.installed()["torch"] == ("2.13.0", "pip")


def test_without_models_there_is_no_torch(place_with):
    place = place_with("2.13.0+cpu")
    done = place.make(".venv/.ready-chem")
    assert done.returncode == 0, done.stderr
    assert place.installed() == {"tiny": ("1", "pip"), "other": ("1.0", "pip")}
    assert not [path for _, path in place.index.asked if "torch" in path]


def test_make_starts_the_set_up_again_in_another_place_and_no_other_time(place_with):
    place = place_with()
    (place.root / ".venv/.made_in").write_text(f"{place.root}\n")
    (place.root / ".venv/.ready-all").touch()
    assert "Nothing to be done" in place.make().stdout
    assert "make_venv.sh" in place.make("-n", "setup", TORCH="cuda").stdout
    (place.root / ".venv/.made_in").write_text(f"{place.root}/former\n")
    assert "make_venv.sh" in place.make("-n", "setup").stdout


@pytest.mark.slow
def test_a_moved_or_copied_checkout_sets_itself_up_again_and_runs_its_own_code(place_with, tmp_path):
    place = place_with("2.13.0+cpu")
    place.set_up()
    first = place.root
    copy = shutil.copytree(first, tmp_path / "a copy", symlinks=True)
    assert _whose_code(copy) == first / "tiny.py"  # the trap

    place.root = copy
    assert f".venv was made in {first} and starts what is there; making it anew for {copy}" in place.set_up()
    assert _whose_code(copy) == copy / "tiny.py"
    place.root = first
    assert "Nothing to be done" in place.make().stdout
    assert _whose_code(first) == first / "tiny.py"

    place.root = first.rename(tmp_path / "moved")
    place.set_up()
    assert _whose_code(place.root) == place.root / "tiny.py"
    assert "Nothing to be done" in place.make().stdout


def _whose_code(root: Path) -> Path:
    return Path(subprocess.run([root / ".venv/bin/where"], capture_output=True, text=True, check=True, cwd="/").stdout.strip())
