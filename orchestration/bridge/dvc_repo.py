"""What only DVC can do: restore from the run cache, commit a stage, check out. Besides resolve.py the only importer of dvc.

DVC's own commands may run at the same time, from a shell or another process: they and we take turns at DVC's locks. Threads of one
process take turns at a lock of ours, because DVC keeps state per process.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Answer = TypeVar("Answer")

# DVC reads this when it is imported: no background process that reports usage.
os.environ.setdefault("DVC_NO_ANALYTICS", "1")

_one_at_a_time = threading.RLock()
# How long to wait for other DVC commands. `dvc repro` blocks the inputs of a stage for as long as its command runs.
PATIENCE_S = 24 * 3600.0


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


class StageStore:
    """DVC's side of a project. Each call opens the repository anew, so it sees dvc.yaml and params.yaml as they are now.

    on_wait: told once, with DVC's own words, when a call has to wait for another DVC command.
    """

    def __init__(self, root: Path, *, on_wait: Callable[[str], None] = lambda message: None, patience_s: float = PATIENCE_S) -> None:
        self._root = root
        self._on_wait = on_wait
        self._patience_s = patience_s

    def restore(self, name: str, *, is_sound: Callable[[str], bool]) -> bool:
        """Bring the stage's outputs back from the run cache when DVC has run it before with exactly today's inputs; False when it has not.

        is_sound: asked for the id of each output before anything is touched, because DVC checks out a damaged object without looking.
        The lookup uses today's dependencies. (DVC's own `restore` may check out what dvc.lock records, under new parameters.)
        """

        def look_up(repo: Any) -> bool:
            from dvc.stage.cache import _can_hash

            stage = _stage(repo, name)
            with repo.lock:
                stage.save_deps()
                known = repo.stage_cache._load(stage) if _can_hash(stage) else None
                if not known:
                    return False
                cached = repo.stage_cache._create_stage(known, wdir=stage.wdir)
                if not cached.outs_cached() or not all(is_sound(out.hash_info.value) for out in cached.outs):
                    return False
                cached.checkout(force=True)
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
                stage = _stage(repo, name)
                stage.save(run_cache=False)
                moved = differing(made_from, recorded_inputs(repo.root_dir, stage))
                if not moved:
                    repo.stage_cache.save(stage)
                    stage.commit()
                    _write_lock_entry(repo, stage)
                return moved

        return self._patiently(record)

    def prepare_outputs(self, name: str, *, keep_links: bool) -> None:
        """What `dvc repro` does before a run: outputs that do not persist are removed, persisting ones get files of their own.

        keep_links: leave persisting outputs linked to the cache, read-only; only for commands that replace files and never write in place.
        """

        def prepare(repo: Any) -> None:
            with repo.lock:
                for out in _stage(repo, name).outs:
                    if not out.persist:
                        out.remove(ignore_remove=False)
                    elif not keep_links:
                        out.unprotect()

        self._patiently(prepare)

    def checkout(self, path: str) -> None:
        """Restore one output from the cache, as dvc.lock records it."""
        self._patiently(lambda repo: repo.checkout(targets=[str(self._root / path)], force=True))

    def _patiently(self, action: Callable[[Any], Answer]) -> Answer:
        from dvc.lock import LockError

        deadline = time.monotonic() + self._patience_s
        pause_s, told = 0.2, False
        while True:
            try:
                with _one_at_a_time, _open_repo(self._root) as repo:
                    return action(repo)
            except LockError as error:
                if time.monotonic() > deadline:
                    raise DvcBusy(f"waited {self._patience_s:,.0f} s for another DVC command: {error}") from error
                if not told:
                    self._on_wait(f"waiting for another DVC command: {' '.join(str(error).split())}")
                    told = True
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 5.0)


def recorded_inputs(root: str, stage: Any) -> dict[str, object]:
    """What DVC is about to record of a saved stage: id by path, parameter values as JSON by file, and under `dvc.yaml` the command."""
    from dvc.dependency import ParamsDependency

    inputs: dict[str, object] = {"dvc.yaml": (stage.cmd,) if isinstance(stage.cmd, str) else tuple(stage.cmd or ())}
    for dep in stage.deps:
        path = dep.def_path if Path(dep.def_path).is_absolute() else os.path.relpath(dep.fs_path, root)
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


def _stage(repo: Any, name: str) -> Any:
    return next(stage for stage in repo.index.stages if getattr(stage, "name", None) == name and stage.path_in_repo == "dvc.yaml")


@contextmanager
def _open_repo(root: Path) -> Iterator[Any]:
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
