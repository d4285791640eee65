"""The project's default DVC remote, one stage at a time: whether it can be used, what it has of a stage, and what it is given."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .dvc_repo import DvcRefused, differing, dvcs_words, open_repo, recorded_inputs, stage_of

# How long an output that is made waits for a remote that is away or refuses the keys, before it stays on this machine alone.
PUSH_PATIENCE_S = 600.0
_NO_ENTRY = ("403", "accessdenied", "signaturedoesnotmatch", "invalidaccesskeyid", "expiredtoken", "credentials", "forbidden", "access denied")


class DvcRemote:
    """Every method raises DvcRefused, in one line with the remedy, when the remote is away or lets nobody in."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def url(self) -> str | None:
        """Where it is, the same words in every clone; None where .dvc/config names no default remote."""
        with open_repo(self._root) as repo:
            name = repo.config["core"].get("remote")
            return str(repo.config["remote"][name]["url"]) if name in repo.config["remote"] else None

    def reach(self) -> None:
        """One question to the remote."""
        with open_repo(self._root) as repo, _trouble_told(repo):
            _remote(repo)

    def fetch(self, name: str, made: Mapping[str, Any] | None, made_from: Mapping[str, object]) -> Mapping[str, Any] | None:
        """Bring what was `made`, else what dvc.lock says was made from exactly these inputs, into the cache; that entry, or None."""
        from dvc.exceptions import CollectCacheError

        with open_repo(self._root) as repo, _trouble_told(repo):
            stage = stage_of(repo, name)
            if made is None and (any(not out.hash_info for out in stage.outs) or differing(made_from, recorded_inputs(repo.root_dir, stage))):
                return None
            made = made or _entry(stage)
            _remote(repo)
            try:
                for objects in repo.stage_cache._create_stage(made, wdir=stage.wdir).get_used_objs().values():
                    if repo.cloud.pull(objects).failed:
                        return None
            except (CollectCacheError, FileNotFoundError):
                return None
            return made

    def push(
        self,
        name: str,
        *,
        tell: Callable[[str], None] = lambda message: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Give the remote the outputs of the stage that dvc.lock records; that entry. Tries again while the remote is away."""
        deadline, told = time.monotonic() + PUSH_PATIENCE_S, False
        while True:
            try:
                return self._push(name)
            except DvcRefused as error:
                if is_cancelled() or time.monotonic() > deadline:
                    raise
                if not told:
                    tell(f"{name} is made and recorded here, and waits to be pushed: {error}")
                    told = True
                time.sleep(1.0)

    def _push(self, name: str) -> dict[str, Any]:
        with open_repo(self._root) as repo, _trouble_told(repo):
            stage = stage_of(repo, name)
            entry = _entry(stage)
            _remote(repo)
            # Outputs that DVC leaves to git, such as metrics, go along: the machine that restores has not made them.
            for out in repo.stage_cache._uncached_outs(stage, entry):
                out.commit()
            for objects in repo.stage_cache._create_stage(entry, wdir=stage.wdir).get_used_objs(push=True).values():
                if failed := repo.cloud.push(objects).failed:
                    raise ConnectionError(f"{len(failed)} of {len(objects)} objects did not arrive")
            return entry


def _entry(stage: Any) -> dict[str, Any]:
    from dvc.stage.serialize import to_single_stage_lockfile

    return dict(to_single_stage_lockfile(stage))


def _remote(repo: Any) -> Any:
    """The default remote, after a look at it: with what it said before forgotten, for others write there."""
    remote = repo.cloud.get_remote(command="push")
    if hasattr(remote.fs.fs, "invalidate_cache"):
        remote.fs.fs.invalidate_cache()
    try:
        remote.fs.ls(remote.path)
    except FileNotFoundError:
        # Nobody has pushed yet; a bucket must be there all the same.
        if remote.fs.protocol == "s3" or "s3" in remote.fs.protocol:
            remote.fs.ls(remote.path.partition("/")[0])
    return remote


@contextmanager
def _trouble_told(repo: Any) -> Iterator[None]:
    """Each protocol's library has errors of its own; what they mean to a person are three things."""
    from dvc.exceptions import DvcException

    name = repo.config["core"].get("remote")
    where = f"the DVC remote {name} ({repo.config['remote'].get(name, {}).get('url')})"
    try:
        with dvcs_words():
            yield
    except (DvcRefused, DvcException, InterruptedError):
        raise
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, PermissionError) or any(word in words.lower() for word in _NO_ENTRY):
            remedy = f"they are missing, wrong or expired: renew AWS_ACCESS_KEY_ID … or ~/.aws/credentials, or `dvc remote modify --local {name} …`"
            raise DvcRefused(f"{where} refuses the keys ({words}); {remedy}") from error
        if isinstance(error, FileNotFoundError):
            raise DvcRefused(f"{where}: no such bucket ({words}); make it, or correct it: `dvc remote modify {name} url …`") from error
        remedy = f"start it, or correct it: `dvc remote modify {name} endpointurl …`"
        raise DvcRefused(f"{where} cannot be reached ({words}); {remedy}") from error
