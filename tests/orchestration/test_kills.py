"""`figment materialize`, `dvc repro`, `figment retract` and the mirror at once, each killed with SIGKILL at a random moment, over and over.

After every round: dvc.lock has lost no entry and says of no output that it was made from something else, retractions.yaml has lost no line, and what
Dagster and the bridge's log knew they still know. After every fourth, `figment doctor --repair` and `figment materialize --stale` make all of it
right: the files are those that a run without faults makes, and everybody agrees.

`--tries 200` sends as many kills.
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestration.bridge.identity import tree_id
from orchestration.bridge.survivors import is_running
from orchestration.records.dagster_records import DagsterRecords
from stages.retractions import read_requests
from tests.hostility import Tried
from tests.orchestration.bridge.toy import Toy, build, python_first
from tests.orchestration.cli.figment import figment

ROOT = Path(__file__).parents[2]
# From the inputs to the outputs, as the commands do it, one name and file for each word.
_STEPS = {"papers": ["raw", "retractions.yaml"], "words": ["data/papers"], "sums": ["data/papers", "data/words"], "side": ["raw"]}
_COMMAND = '''\
"""Join what is read, file by file, slowly enough to be killed in the midst of it."""
import hashlib
import pathlib
import sys
import time

name, *reads = sys.argv[1:]
said = hashlib.md5()
for path in sorted(file for read in reads for file in ([pathlib.Path(read)] if pathlib.Path(read).is_file() else pathlib.Path(read).rglob("*"))):
    if path.is_file():
        said.update(path.as_posix().encode() + path.read_bytes())
out = pathlib.Path("data", name)
for number in range(6):
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{number}.txt").write_text(f"{name} {number} {said.hexdigest()}")
    time.sleep(0.015)
'''
# Everything is imported once; then a child is forked for each line: what is killed is work, not an import.
_NURSERY = """
import contextlib, json, os, sys, time
from pathlib import Path
import dagster, dvc.repo, dvc.commands.repro, pyarrow.parquet
from dvc.cli import main as dvc
from orchestration.cli.main import main as figment
import orchestration.runs.dagster_run, orchestration.cli.materialize, orchestration.cli.retract, orchestration.assembly
from orchestration.bridge.mirror import report_outside_changes
from orchestration.bridge.project import Project
from orchestration.runs.dagster_run import open_instance

def mirror(root):
    with open_instance(root) as instance:
        for _ in range(20):
            with contextlib.suppress(Exception):
                report_outside_changes(instance, Project(root))
            time.sleep(0.05)
    return 0

for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        _, status = os.waitpid(order["wait"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    child = os.fork()
    if child == 0:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for number in (1, 2):
            os.dup2(log, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(order["root"])
        who, *words = order["start"]
        code = 1
        try:
            code = {"figment": figment, "dvc": dvc, "mirror": lambda words: mirror(Path(order["root"]))}[who](words)
        finally:
            sys.stdout.flush()
            os._exit(code or 0)
    print(child, flush=True)
"""


class Nursery:
    """Starts programs as children of one process that has imported what they need."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _NURSERY],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *words: str) -> int:
        return self._ask({"start": words, "root": str(self._root), "log": str(self._root / "log.txt")})

    def wait(self, pid: int) -> int:
        return self._ask({"wait": pid})

    def _ask(self, order: dict[str, object]) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


class Project:
    """The toy, what was ever in its inputs, and what it must never lose."""

    def __init__(self, root: Path) -> None:
        stages = {
            name: {"cmd": f"python -SB command.py {name} {' '.join(reads)}", "deps": ["command.py", *reads], "outs": [f"data/{name}"]}
            for name, reads in _STEPS.items()
        }
        ignored = "/.figment\n/log.txt\n"
        files = {"dvc.yaml": yaml.safe_dump({"stages": stages}, sort_keys=False), "command.py": _COMMAND, "retractions.yaml": "[]\n"}
        self.toy: Toy = build(root, {**files, "raw/a.txt": "0", "raw/b.txt": "0", ".gitignore": ignored, ".dvcignore": ignored})
        self.root = root
        self.retracted: set[str] = set()
        self._contents: dict[str, dict[str, str]] = {}

    def remember_inputs(self) -> None:
        """Keep what the inputs hold now by their ids."""
        project = self.toy.project()
        for path in ("raw", "retractions.yaml"):
            content = project.content(path)
            assert content is not None
            top = self.root / path
            files = sorted(top.rglob("*")) if top.is_dir() else [top]
            self._contents[content.id] = {file.relative_to(self.root).as_posix(): file.read_text() for file in files}

    def made(self, name: str, ids: list[str]) -> str | None:
        """The id of what the command `name` makes of inputs of these ids; None when they were never seen."""
        from hashlib import md5

        if not all(id in self._contents for id in ids):
            return None
        read = {path: text for id in ids for path, text in self._contents[id].items()}
        said = md5(usedforsecurity=False)
        for path in sorted(read, key=Path):
            said.update(path.encode() + read[path].encode())
        made = {f"{number}.txt": f"{name} {number} {said.hexdigest()}" for number in range(6)}
        id = tree_id({path: md5(text.encode(), usedforsecurity=False).hexdigest() for path, text in made.items()})
        self._contents[id] = {f"data/{name}/{path}": text for path, text in made.items()}
        return id

    def untruths(self) -> list[str]:
        """The entries of dvc.lock whose output is not what its command makes of the inputs that the entry names."""
        wrong = []
        for name, entry in self.toy.project().lock().entries.items():
            ids = [entry.deps[path] for path in _STEPS[name]]
            if self.made(name, ids) != entry.outs[f"data/{name}"]:
                wrong.append(f"{name}: {entry.outs} from {entry.deps}")
        return wrong

    def records(self) -> tuple[set[str], set[str], set[str], int]:
        """What must never become less: stages in dvc.lock, retractions, ids in Dagster, events in the log."""
        with sqlite3.connect(self.root / ".figment/state.db") as connection:
            events = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        requests = {request.id for request in read_requests(self.root / "retractions.yaml")}
        dagster = DagsterRecords(self.root / ".figment/dagster").known_ids()
        return set(self.toy.project().lock().entries), requests, dagster, events

    def is_sound(self) -> bool:
        """Whether the SQLite files are whole."""
        for path in (self.root / ".figment").rglob("*.db"):
            with sqlite3.connect(path) as connection:
                if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                    return False
        return True


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    python_first()
    project = Project(tmp_path / "project")
    project.remember_inputs()
    assert figment(project.root, "materialize", "--all").code == 0
    project.toy.git_commit()
    yield project
    shutil.rmtree(project.root)


@pytest.fixture
def nursery(project: Project) -> Iterator[Nursery]:
    nursery = Nursery(project.root)
    yield nursery
    nursery.end()


@pytest.mark.hostile
@pytest.mark.timeout(7200)
def test_kills_at_random_moments_mix_nothing_and_lose_nothing(project: Project, nursery: Nursery, tried: Tried, tries: int | None) -> None:
    wanted, chance, kills, turn = tries or 24, random.Random(11), 0, 0
    mixed: list[str] = []
    lost: list[str] = []
    while kills < wanted:
        turn += 1
        before = project.records()
        project.toy.write(f"raw/{chance.choice('ab')}.txt", str(turn))
        project.remember_inputs()
        starts = [("figment", "materialize", "--stale"), ("dvc", "repro"), ("figment", "retract", f"paper-{turn}", "--unseen"), ("mirror",)]
        kills += _kill_at_random(nursery, chance, starts, project)
        mixed += project.untruths()
        lost += _lost(before, project)
        if turn % 4 == 0 or kills >= wanted:
            mixed += _recover(project, nursery)
    tried("SIGKILL at random moments of materialize, repro, retract and the mirror", kills, got_through=len(mixed), lost=len(lost))
    assert not mixed and not lost, (mixed, lost)


def _kill_at_random(nursery: Nursery, chance: random.Random, starts: list[tuple[str, ...]], project: Project) -> int:
    """Start all at once and send SIGKILL to most, each in its own time; how many were still at work."""
    chance.shuffle(starts)
    pids = {words: nursery.start(*words) for words in starts}
    moments = sorted((chance.uniform(0.02, 1.6), words) for words in starts if chance.random() < 0.8)
    begun, killed = time.monotonic(), []
    for moment, words in moments:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        if is_running(pids[words]):
            os.kill(pids[words], 9)
            killed.append(words)
    ended = {words: nursery.wait(pid) for words, pid in pids.items()}
    for words, code in ended.items():
        if words[1:2] == ("retract",) and code == 0:
            project.retracted.add(words[2])
    # The command of a killed `dvc repro` goes on, and nobody ends it: the limit that the bridge's README names.
    time.sleep(0.3)
    if not (project.root / "dvc.lock").read_bytes():
        # Plain DVC writes in place: killed in that moment it leaves nothing, and refuses to go on.
        figment(project.root, "doctor", "--repair")
    project.remember_inputs()
    return len(killed)


def _lost(before: tuple[set[str], set[str], set[str], int], project: Project) -> list[str]:
    after = project.records()
    names = ("entries of dvc.lock", "retractions", "ids in Dagster")
    lost = [f"{what}: {old - new}" for what, old, new in zip(names, before, after, strict=False) if not old <= new]
    lost += [f"events of the log: {before[3] - after[3]}"] if after[3] < before[3] else []
    return lost + [f"retractions that were confirmed: {gone}" for gone in [project.retracted - after[1]] if gone]


def _recover(project: Project, nursery: Nursery) -> list[str]:
    """What is still wrong after the doctor and one run without faults."""
    figment(project.root, "doctor", "--repair")
    code = nursery.wait(nursery.start("figment", "materialize", "--stale"))
    nursery.wait(nursery.start("mirror"))
    wrong = [] if code == 0 else [f"materialize ended with {code}: {(project.root / 'log.txt').read_text()[-2000:]}"]
    wrong += [f"stale: {sorted(stale)}" for stale in [project.toy.stale() | project.toy.dvc_stale()] if stale]
    raw, retractions = project.toy.project().content("raw"), project.toy.project().content("retractions.yaml")
    assert raw and retractions
    made = {"raw": raw.id, "retractions.yaml": retractions.id}
    for name, reads in _STEPS.items():
        made[f"data/{name}"] = project.made(name, [made[path] for path in reads]) or ""
        content = project.toy.project().store.content(project.root / "data" / name, trust_stamps=False)
        wrong += [f"{name} holds something else"] if content is None or content.id != made[f"data/{name}"] else []
    wrong += [] if project.is_sound() else ["a damaged SQLite file"]
    examined = figment(project.root, "doctor", "--json")
    return wrong + [f"{finding['kind']} {finding['subject']} {finding['detail']}" for finding in examined.json["findings"]]
