"""What only DVC can do: restore from the run cache, commit a stage, check out, read what older ones wrote. Beside resolve.py the one importer of dvc.

DVC's own commands may run at the same time, from a shell or another process: they and we take turns at DVC's locks, and each sees in DVC's register
`.dvc/tmp/rwlock` which paths the other is at work on. Threads of one process take turns at a lock of ours, because DVC keeps state per process.
"""

import contextlib
import json
import os
import posixpath
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from .graph import Stage, command_of, is_remote
from .identity import tree_id, walk_files
from .survivors import is_running

Answer = TypeVar("Answer")

# DVC reads this when it is imported: no background process that reports usage.
os.environ.setdefault("DVC_NO_ANALYTICS", "1")

_one_at_a_time = threading.RLock()
# How long to wait for other DVC commands. `dvc repro` blocks the inputs of a stage for as long as its command runs.
PATIENCE_S = 24 * 3600.0
# How long a server may take to say what it has.
REMOTE_PATIENCE_S = 20.0


class DvcBusy(Exception):
    """Another DVC command holds what we need, for longer than we are willing to wait."""


class DvcRefused(Exception):
    """DVC did not do what it was asked, and says why."""


@contextmanager
def dvcs_words() -> Iterator[None]:
    """Within the block, errors of DVC's own as DvcRefused, with all it says on one line."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise DvcRefused(f"DVC: {' '.join(str(error).split())}") from error


def dvc_2_id(path: Path) -> str:
    """The id that DVC 2 gave to the file or folder `path`: what looks like text is hashed with the line ends of Unix."""
    from dvc_data.hashfile.hash import fobj_md5

    def of_file(file: Path) -> str:
        with open(file, "rb") as stream:
            return str(fobj_md5(stream, name="md5-dos2unix"))

    return tree_id({name: of_file(path / name) for name, _ in walk_files(path)}) if path.is_dir() else of_file(path)


def python_parameters(path: Path) -> Any:
    """The assignments of plain values in a Python file, as DVC reads them; nothing is run. Raises ValueError where it is no Python."""
    from dvc.utils.serialize import ParseError, parse_py

    try:
        return parse_py(path.read_text(encoding="utf-8"), str(path))
    except ParseError as error:
        raise ValueError(" ".join(str(error).split())) from None


def remote_id(root: Path, address: str) -> str | None:
    """What DVC records of something on a server, such as its ETag: one question, no download. None where there is nothing, or no answer in time."""

    def ask() -> str | None:
        from dvc.dependency import Dependency
        from dvc.repo import Repo
        from dvc.stage import Stage as AnyStage

        with Repo(str(root)) as repo:
            dep = Dependency(AnyStage(repo, wdir=repo.root_dir), address)
            return str(dep.get_hash().value) if dep.exists else None

    answers: list[str | None] = []

    def answer() -> None:
        # Each protocol's library has errors of its own for "offline"; DVC takes all of them for an input that is gone.
        with contextlib.suppress(Exception):
            answers.append(ask())

    # DVC would try for minutes where a network swallows what it is sent.
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    thread.join(REMOTE_PATIENCE_S)
    return answers[0] if answers else None


class StageStore:
    """DVC's side of a project. Each call opens the repository anew, so it sees dvc.yaml and params.yaml as they are now.

    on_wait: told once, with DVC's own words, when a call has to wait for another DVC command. A call that waits raises InterruptedError once
    `is_cancelled` says so.
    """

    def __init__(
        self,
        root: Path,
        *,
        on_wait: Callable[[str], None] = lambda message: None,
        is_cancelled: Callable[[], bool] = lambda: False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._root = root
        self._on_wait = on_wait
        self._is_cancelled = is_cancelled
        self._patience_s = patience_s

    @contextmanager
    def claim(self, stage: Stage) -> Iterator[Callable[[int], None]]:
        """Keep DVC's commands from writing the stage's outputs until the block ends. The stage's lock must be held.

        Waits while another process writes the outputs or what they are made from, or reads the outputs. Yields a function that is told the number of
        one more process: the claim holds, if this process is killed, until that one ends.

        The claim is that of a reader, which keeps writers off (`dvc repro`, `dvc commit`, `dvc remove`) and lets `dvc status` look, during ten hours
        of training too. The stage's inputs are not claimed: one that changes meanwhile is found when the stage is recorded.
        """
        register, ours, command = _Register(self._root), _words_of_materialization(stage.name), _words_of_command(stage.name)
        outs = [str(self._root / out.path) for out in stage.outs]
        inputs = [str(self._root / path) for path in stage.reads if not is_remote(path)]
        others: list[int] = []

        def enter() -> None:
            # Whoever holds the stage's lock knows that earlier claims on it are over.
            register.leave({ours, command})
            register.enter(outs, ours, os.getpid(), unwritten=[*inputs, *outs], unread=outs)

        def extend(pid: int) -> None:
            others.append(pid)
            self._retry(lambda: register.enter(outs, command, pid))

        self._retry(enter)
        try:
            yield extend
        finally:
            over = {ours} if any(map(is_running, others)) else {ours, command}
            self._retry(lambda: register.leave(over), is_cancelled=lambda: False)

    def restore(self, name: str, *, is_sound: Callable[[str], bool], made: Mapping[str, Any] | None = None) -> bool:
        """Bring the stage's outputs back from the run cache when DVC has run it before with exactly today's inputs; False when it has not.

        is_sound: asked for the id of each output before anything is touched, because DVC checks out a damaged object without looking.
        made: the entry of dvc.lock to take instead of one of the run cache.
        The lookup uses today's dependencies. (DVC's own `restore` may check out what dvc.lock records, under new parameters.)
        """

        def look_up(repo: Any) -> bool:
            from dvc.stage.cache import _can_hash

            stage = stage_of(repo, name)
            with repo.lock:
                stage.save_deps()
                known = made or (repo.stage_cache._load(stage) if _can_hash(stage) else None)
                if not known:
                    return False
                cached = repo.stage_cache._create_stage(known, wdir=stage.wdir)
                if not cached.outs_cached() or not all(is_sound(out.hash_info.value) for out in cached.outs):
                    return False
                with _writing(repo, stage):
                    for out in cached.outs:
                        out.checkout(force=True)
                return True

        return self._patiently(look_up)

    def commit(self, name: str, *, made_from: Mapping[str, object]) -> list[str]:
        """Record the stage as it stands: outputs into the cache, ids and parameters into dvc.lock, the run into the run cache.

        made_from: what the outputs were made from, as `recorded_inputs` writes it. Where the inputs that DVC finds now differ, nothing is
        recorded, and their paths are returned: reading large outputs takes minutes, and nobody keeps people from editing meanwhile.
        """

        def record(repo: Any) -> list[str]:
            from dvc.repo import lock_repo

            with lock_repo(repo):
                stage = stage_of(repo, name)
                for edge in (*stage.deps, *stage.outs):
                    # Ids that DVC 2 gave become those of DVC 3.
                    edge.update_legacy_hash_name(force=True)
                stage.save(run_cache=False)
                moved = differing(made_from, recorded_inputs(repo.root_dir, stage))
                if not moved:
                    with _writing(repo, stage):
                        repo.stage_cache.save(stage)
                        for out in stage.outs:
                            out.commit()
                    _write_lock_entry(repo, stage)
                return moved

        return self._patiently(record)

    def prepare_outputs(self, name: str, *, keep_links: bool) -> None:
        """What `dvc repro` does before a run: outputs that do not persist are removed, persisting ones get files of their own.

        keep_links: leave persisting outputs linked to the cache, read-only; only for commands that replace files and never write in place.
        """

        def prepare(repo: Any) -> None:
            stage = stage_of(repo, name)
            with repo.lock, _writing(repo, stage):
                for out in stage.outs:
                    if not out.persist:
                        out.remove(ignore_remove=False)
                    elif not keep_links:
                        out.unprotect()

        self._patiently(prepare)

    def checkout(self, path: str) -> None:
        """Restore one output from the cache, as dvc.lock records it."""
        self._patiently(lambda repo: repo.checkout(targets=[str(self._root / path)], force=True))

    def _patiently(self, action: Callable[[Any], Answer]) -> Answer:
        def attempt() -> Answer:
            with _one_at_a_time, open_repo(self._root) as repo:
                return action(repo)

        return self._retry(attempt)

    def _retry(self, attempt: Callable[[], Answer], *, is_cancelled: Callable[[], bool] | None = None) -> Answer:
        from dvc.lock import LockError

        is_cancelled = is_cancelled or self._is_cancelled
        deadline = time.monotonic() + self._patience_s
        pause_s, told = 0.2, False
        while True:
            try:
                return attempt()
            except LockError as error:
                words = " ".join(str(error).split())
                if time.monotonic() > deadline:
                    raise DvcBusy(f"waited {self._patience_s:,.0f} s for another DVC command: {words}") from error
                if is_cancelled():
                    raise InterruptedError(f"cancelled while waiting for another DVC command: {words}") from error
                if not told:
                    self._on_wait(f"waiting for another DVC command: {words}")
                    told = True
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 1.0)


class _Register:
    """DVC's register of who reads and who writes which path, a file that DVC's own code edits. Entries are a process number and a text."""

    def __init__(self, root: Path) -> None:
        from dvc.config import Config

        # Without opening the repository: that reads all of dvc.yaml, which takes a second where it is long.
        folder = root / ".dvc" / "tmp"
        folder.mkdir(exist_ok=True)
        self._folder = str(folder)
        self._hardlink = bool(Config(str(root / ".dvc"))["core"].get("hardlink_lock", False))

    def edit(self) -> AbstractContextManager[dict[str, Any]]:
        from dvc.rwlock import _edit_rwlock

        return _edit_rwlock(self._folder, _WholeFiles, self._hardlink)

    def writing(self, paths: list[str], words: str) -> AbstractContextManager[None]:
        from dvc.rwlock import rwlock

        return rwlock(self._folder, _WholeFiles, words, [], paths, self._hardlink)

    def enter(self, paths: list[str], words: str, pid: int, *, unwritten: Sequence[str] = (), unread: Sequence[str] = ()) -> None:
        """Enter the process as a reader of `paths`. Raises LockError when another writes a path of `unwritten`, or reads one of `unread`."""
        from dvc.rwlock import _acquire_read, _check_blockers

        info = {"pid": pid, "cmd": words}
        with self.edit() as lock:
            _check_blockers(self._folder, lock, info, mode="write", waiters=unwritten)
            _check_blockers(self._folder, lock, info, mode="read", waiters=unread)
            _acquire_read(lock, info, paths)

    def leave(self, words: Collection[str]) -> None:
        """Take out the entries with one of these texts, and those of processes that have ended and wait to be buried: DVC takes them for alive."""
        from psutil import pid_exists

        def stays(info: Mapping[str, Any]) -> bool:
            return info["cmd"] not in words and (is_running(info["pid"]) or not pid_exists(info["pid"]))

        with self.edit() as lock:
            readers = {path: [info for info in infos if stays(info)] for path, infos in lock["read"].items()}
            lock["read"] = {path: infos for path, infos in readers.items() if infos}
            lock["write"] = {path: info for path, info in lock["write"].items() if stays(info)}


class _WholeFiles:
    """What DVC's code takes for a file system. It writes its register in place, and a kill would leave half of it, which stops every DVC command."""

    join = staticmethod(os.path.join)

    @staticmethod
    @contextmanager
    def open(path: str, mode: str = "r", *, encoding: str) -> Iterator[IO[Any]]:
        scratch = Path(path if mode == "r" else f"{path}.new")
        with scratch.open(mode, encoding=encoding) as file:
            yield file
        if mode != "r":
            scratch.replace(path)


def _writing(repo: Any, stage: Any) -> AbstractContextManager[None]:
    """What DVC does while it writes outputs: nobody else reads them. Raises LockError when somebody does; our own claim is no hindrance."""
    register = _Register(Path(repo.root_dir))
    register.leave({_words_of_command(_name_of(stage))})
    return register.writing([out.fs_path for out in stage.outs], _words_of_materialization(_name_of(stage)))


def _words_of_materialization(name: str) -> str:
    """DVC tells these words to whoever has to wait for us."""
    return f"materialization of {name}"


def _words_of_command(name: str) -> str:
    return f"command of {name}, run by a materialization"


def recorded_inputs(root: str, stage: Any) -> dict[str, object]:
    """What DVC is about to record of a saved stage: id by path, parameter values as JSON by file, and under `dvc.yaml` the command."""
    from dvc.dependency import ParamsDependency

    inputs: dict[str, object] = {"dvc.yaml": command_of(stage.cmd)}
    for dep in stage.deps:
        is_local = dep.protocol == "local" and not Path(dep.def_path).is_absolute()
        path = os.path.relpath(dep.fs_path, root) if is_local else dep.def_path
        inputs[path] = as_text(dep.hash_info.value) if isinstance(dep, ParamsDependency) else dep.hash_info.value
    return inputs


def as_text(params: object) -> str:
    """Parameter values in one spelling."""
    return json.dumps(params, sort_keys=True, default=str)


def differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The keys whose values differ, in order."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _write_lock_entry(repo: Any, stage: Any) -> None:
    """Enter the stage in dvc.lock. DVC writes that file in place: who reads meanwhile finds half of it, and a kill leaves half of it. So a copy is
    written, which then takes its place.
    """
    lockfile = stage.dvcfile._lockfile
    final, scratch = Path(lockfile.path), Path(repo.tmp_dir) / f"dvc.lock.{os.getpid()}"
    scratch.unlink(missing_ok=True)
    if final.exists():
        shutil.copyfile(final, scratch)
    lockfile.path = str(scratch)
    lockfile.dump_stages([stage])
    scratch.replace(final)


def stage_of(repo: Any, name: str) -> Any:
    """DVC's stage of the name that the bridge gives it."""
    return next(stage for stage in repo.index.stages if getattr(stage, "name", None) and _name_of(stage) == name)


def _name_of(stage: Any) -> str:
    """What the bridge calls a stage of DVC's: its own name after the folder of its dvc.yaml."""
    return posixpath.join(posixpath.dirname(stage.path_in_repo), stage.name)


@contextmanager
def open_repo(root: Path) -> Iterator[Any]:
    """DVC's view of the project, opened anew."""
    import logging

    from dvc.repo import Repo

    # "Updating lock file" is news to nobody who did not call DVC by hand.
    logging.getLogger("dvc").setLevel(logging.WARNING)
    with Repo(str(root)) as repo:
        _anchor_run_cache(repo)
        yield repo


def _anchor_run_cache(repo: Any) -> None:
    """DVC's run cache takes the working directory for the repository's root: tell it the root."""
    from dvc.stage import PipelineStage, create_stage
    from dvc.stage.loader import StageLoader

    def create(cache: Mapping[str, Any], wdir: str | None = None) -> Any:
        outs = [out["path"] for out in cache["outs"]]
        stage = create_stage(PipelineStage, repo=repo, path=os.path.join(repo.root_dir, "dvc.yaml"), cmd=cache["cmd"], wdir=wdir, outs=outs)
        StageLoader.fill_from_lock(stage, cache)
        return stage

    repo.stage_cache._create_stage = create
