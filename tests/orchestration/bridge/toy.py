"""Small real DVC projects for tests: five artifacts whose commands take 20 ms each, built once a session and copied for each test.

    raw/ ──> rows ──> evens ──> total ──> report        rows also feeds report directly;
    raw/ ──> side                                       side has nothing to do with the others.

A prelude, `versions`, writes what the code of rows, evens and side says into versions.yaml; total and report depend on their files of code.
Every command notes its runs in `.runs/<stage>`, so that a test can count them.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from orchestration.bridge.assets import build_stage_assets
from orchestration.bridge.definitions import build_definitions
from orchestration.bridge.graph import Stage
from orchestration.bridge.materialize import Materialized, Request, Surroundings, materialize
from orchestration.bridge.mirror import key_in
from orchestration.bridge.preludes import prepared
from orchestration.bridge.process import Hold, Outcome, run_command
from orchestration.bridge.project import Project
from orchestration.bridge.status import StageStatus, project_status
from orchestration.bridge.translator import op_name

STAGES = ("rows", "evens", "total", "report", "side")

DVC_YAML = """\
stages:
  versions:
    cmd: python -SB code/versions.py
    deps: [code]
    outs:
      - versions.yaml:
          cache: false
          persist: true
  rows:
    desc: The numbers of all raw files.
    cmd: python -SB code/rows.py
    deps: [raw]
    params:
      - rows
      - versions.yaml: [rows]
      - libraries.yaml: [pillow]
    outs:
      - data/rows:
          persist: true
    meta:
      dagster: {group: tables, kinds: [text], automation: on_data}
  evens:
    cmd: python -SB code/evens.py
    deps: [data/rows]
    params: [evens.modulo, versions.yaml: [evens]]
    outs: [data/evens]
    meta:
      dagster: {group: tables, automation: on_data, pool: few, owners: ["team:numbers"], tags: {tier: gold}}
  total:
    cmd: python -SB code/total.py
    deps: [code/total.py, data/evens]
    outs: [data/total]
    metrics:
      - data/total.json:
          cache: false
    meta:
      dagster: {automation: on_data}
  report:
    cmd: python -SB code/report.py
    deps: [code/report.py, data/rows, data/total]
    outs: [data/report.md]
  side:
    cmd: python -SB code/side.py
    deps: [raw]
    params: [side, versions.yaml: [side]]
    outs: [data/side]
"""

PARAMS_YAML = """\
rows:
  repeat: 1
  note: first
evens:
  modulo: 2
  unused: 1
side:
  word: tea
unrelated:
  x: 1
"""

_SETTINGS = '''\
"""Settings of the toy, without a YAML library."""
import os
import pathlib


def section(name):
    """One section of params.yaml as text values."""
    values, here = {}, False
    for line in pathlib.Path("params.yaml").read_text().splitlines():
        if not line.startswith(" "):
            here = line == name + ":"
        elif here:
            key, _, value = line.strip().partition(": ")
            values[key] = value
    return values


def begin(stage):
    """Count this run."""
    runs = pathlib.Path(".runs")
    runs.mkdir(exist_ok=True)
    with open(runs / stage, "a") as stream:
        stream.write("ran\\n")


def write(path, text):
    """A new file renamed into place, never a write into an existing one."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)
'''

_HEAD = '"""Make {0}."""\nimport pathlib\n\nfrom settings import begin, section, write  # noqa\n\nbegin("{0}")\n'

_BODIES = {
    "rows": """\
lines = [line for file in sorted(pathlib.Path("raw").iterdir()) for line in file.read_text().split()]
repeat = int(section("rows")["repeat"])
write("data/rows/rows.txt", "".join(line + "\\n" for line in lines * repeat))
write("data/rows/deep/count.txt", str(len(lines)))
""",
    "evens": """\
modulo = int(section("evens")["modulo"])
numbers = [int(line) for line in pathlib.Path("data/rows/rows.txt").read_text().split()]
write("data/evens/evens.txt", "".join(str(number) + "\\n" for number in numbers if number % modulo == 0))
""",
    "total": """\
total = sum(map(int, pathlib.Path("data/evens/evens.txt").read_text().split()))
write("data/total/total.txt", str(total))
write("data/total.json", '{"total": ' + str(total) + "}")
""",
    "report": """\
lines = len(pathlib.Path("data/rows/rows.txt").read_text().split())
write("data/report.md", str(lines) + " rows, total " + pathlib.Path("data/total/total.txt").read_text())
""",
    "side": """\
write("data/side/side.txt", section("side")["word"] + " " + str(len(list(pathlib.Path("raw").iterdir()))))
""",
}

_VERSIONS = '''\
"""Make versions.yaml: what the code of some stages says, comments and layout left out."""
import ast
import hashlib
import pathlib

from settings import begin, write

begin("versions")
shared = ast.dump(ast.parse(pathlib.Path("code/settings.py").read_text()))
lines = []
for name in ("rows", "evens", "side"):
    own = ast.dump(ast.parse(pathlib.Path("code", name + ".py").read_text()))
    lines.append(name + ": 'v" + hashlib.sha256((shared + own).encode()).hexdigest()[:8] + "'\\n")
write("versions.yaml", "".join(lines))
'''

FILES: Mapping[str, str] = {
    "dvc.yaml": DVC_YAML,
    "params.yaml": PARAMS_YAML,
    "libraries.yaml": "pillow: '13.0.0'\npyarrow: '25.0.1'\n",
    "raw/a.txt": "1\n2\n3\n",
    "raw/b.txt": "4\n5\n",
    "code/settings.py": _SETTINGS,
    "code/versions.py": _VERSIONS,
    **{f"code/{name}.py": _HEAD.format(name) + body for name, body in _BODIES.items()},
    ".gitignore": "/.figment\n/.runs\n__pycache__\n",
    ".dvcignore": "/.figment\n/.runs\n",
}


class Toy:
    """A project on disk and the questions tests ask of it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def project(self) -> Project:
        return Project(self.root)

    def write(self, path: str, text: str) -> None:
        """A new file renamed into place: outputs may be read-only links into the cache."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(target.name + ".new")
        new.write_text(text)
        new.replace(target)

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text, f"{path} does not contain {old!r}"
        self.write(path, text.replace(old, new))

    def runs(self, name: str) -> int:
        path = self.root / ".runs" / name
        return len(path.read_text().split()) if path.exists() else 0

    # ---- figment ---------------------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, StageStatus]:
        return project_status(prepared(self.project()))

    def stale(self) -> set[str]:
        return {name for name, status in self.status().items() if status.state != "fresh"}

    def make(self, name: str, *, force: bool = False, log: Callable[[str], None] = lambda message: None) -> Materialized:
        return materialize(self.project(), Request(name, "figment", force), self.surroundings(log=log))

    def make_all(self) -> None:
        """Everything stale, upstream first, as `figment materialize --stale` does."""
        for name in self.project().graph.stages:
            self.make(name)

    def surroundings(
        self,
        *,
        log: Callable[[str], None] = lambda message: None,
        is_cancelled: Callable[[], bool] = lambda: False,
        heard: Callable[[str], None] = lambda line: None,
    ) -> Surroundings:
        def run(stage: Stage, environment: Mapping[str, str], hold: Hold) -> Outcome:
            return run_command(
                stage.cmd,
                cwd=self.root / stage.wdir,
                env=environment,
                on_output=lambda _, line: heard(line),
                cancelled=is_cancelled,
                grace_s=1,
                hold=hold,
            )

        return Surroundings(run, log=log, is_cancelled=is_cancelled)

    def in_background(self, name: str) -> "Background":
        return Background(lambda: self.make(name))

    # ---- DVC -------------------------------------------------------------------------------------------------------------------------

    def dvc_status(self) -> dict[str, Any]:
        """What `dvc status` says of each stage that is not up to date."""
        # DVC's own commands take their targets from the working directory. The bridge must not: its tests run elsewhere.
        with contextlib.chdir(self.root), self._repo() as repo:
            return repo.status()

    def dvc_stale(self) -> set[str]:
        return set(self.dvc_status())

    def repro(self, *targets: str, **options: Any) -> set[str]:
        """`dvc repro`; the stages that ran (with dry=True: would run)."""
        with contextlib.chdir(self.root), self._repo() as repo:
            return {stage.addressing for stage in repo.reproduce(targets=list(targets) or None, **options)}

    def _repo(self) -> Any:
        from dvc.repo import Repo

        return Repo(str(self.root))

    # ---- Dagster ---------------------------------------------------------------------------------------------------------------------

    def definitions(self, **options: Any) -> dg.Definitions:
        """The definitions as a code server that starts now would load them."""
        return build_definitions(self.project(), executor=dg.in_process_executor, **options)

    def dagster_stale(self, instance: dg.DagsterInstance) -> set[str]:
        """The assets Dagster's page would not call fresh."""
        graph = dg.Definitions(assets=build_stage_assets(self.project(), never_run)).resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        project = self.project()
        return {name for name in project.graph.stages if resolver.get_status(key_in(project.graph, name)) != StaleStatus.FRESH}

    def dagster_make(
        self, instance: dg.DagsterInstance, *names: str, definitions: dg.Definitions | None = None, **options: Any
    ) -> dg.ExecuteInProcessResult:
        """A Dagster run of the named assets. `force=True` asks for a forced rerun in the run's configuration."""
        force = options.pop("force", None)
        if force is not None:
            options["run_config"] = {"ops": {op_name(name): {"config": {"force": force}} for name in names}}
        job = (definitions or self.definitions()).resolve_implicit_global_asset_job_def()
        graph = self.project().graph
        keys = [key_in(graph, name) for name in names]
        return job.execute_in_process(instance=instance, asset_selection=keys, raise_on_error=False, **options)

    # ---- programs --------------------------------------------------------------------------------------------------------------------

    def shell(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.root, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def dvc(self, *words: str) -> str:
        return self.shell(sys.executable, "-m", "dvc", *words)

    def git_commit(self) -> None:
        self.shell("git", "add", ".")
        self.shell("git", "commit", "-qm", "state")


def stage_name(key: dg.AssetKey) -> str:
    """The stage of an asset key that `asset_key` made."""
    return "@".join(key.path)


def never_run(*arguments: Any) -> Outcome:
    """For definitions that are looked at and not executed."""
    raise AssertionError("nothing was to be run")


class Background:
    """A materialization in another thread; `result()` waits for it and raises what it raised."""

    def __init__(self, action: Callable[[], Materialized]) -> None:
        self._answer: Materialized | None = None
        self._error: BaseException | None = None

        def act() -> None:
            try:
                self._answer = action()
            except BaseException as error:  # noqa: BLE001 - handed to the waiting test
                self._error = error

        self._thread = threading.Thread(target=act)
        self._thread.start()

    def result(self) -> Materialized:
        self._thread.join(60)
        assert not self._thread.is_alive(), "the materialization did not end within a minute"
        if self._error:
            raise self._error
        assert self._answer is not None
        return self._answer


def build(root: Path, files: Mapping[str, str] = FILES) -> Toy:
    """A git and DVC project of `files`, nothing made yet, with hard links into its cache wherever the tests run."""
    from dvc.repo import Repo

    root.mkdir(parents=True, exist_ok=True)
    toy = Toy(root)
    for path, text in files.items():
        toy.write(path, text)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    Repo.init(str(root)).close()
    (root / ".dvc/config").write_text('[core]\n    analytics = false\n    check_update = false\n[cache]\n    type = "hardlink,copy"\n')
    return toy


def copy_of(template: Toy, root: Path) -> Toy:
    """The same project elsewhere; hard links between its workspace and its cache stay hard links."""
    subprocess.run(["cp", "-a", str(template.root), str(root)], check=True)
    return Toy(root)


def python_first() -> None:
    """DVC's own commands find `python` where these tests found it."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
