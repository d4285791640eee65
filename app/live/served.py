"""Which version of a model is shown: the registry's champion, with the very bytes that were registered, or words on why there is none."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from orchestration.bridge.cache import cached_members
from orchestration.bridge.graph import GraphError
from orchestration.bridge.identity import file_md5
from orchestration.bridge.project import Project
from orchestration.records.mlflow_runs import MlflowUnreachableError, ModelVersion, model_versions
from training.tracking.registry import PROMOTION_TAG


class NotServedError(Exception):
    """A model that cannot be shown now. The message says why, and which command changes that."""


@dataclass(frozen=True)
class Served:
    """A version, and the folder that holds its bytes. id: of those bytes, as DVC has it."""

    model: str
    version: str
    id: str
    folder: Path
    is_champion: bool

    @property
    def words(self) -> str:
        return f"{self.model}, version {self.version}, {'champion' if self.is_champion else 'not a champion'}, content {self.id[:12]}"


class Shelf:
    """The models of one project, each loaded once, when first asked for, and again when the registry names other bytes. Safe to use from threads.

    newest: where a model has no champion, its newest version that was not withdrawn stands in.
    """

    def __init__(self, project: Project, *, newest: bool = False, device: Any = "cpu") -> None:
        self.project, self.newest, self.device = project, newest, device
        self._loaded: dict[str, tuple[str, Any]] = {}
        self._lock = RLock()

    def find(self, model: str) -> Served:
        """What the registry says now. Raises NotServedError."""
        try:
            path = self.project.graph.artifact(model).data_outs[0].path
            version = self._choose(model, path, [found for found in model_versions(self.project.root) if found.model == model])
        except (GraphError, MlflowUnreachableError) as error:
            raise NotServedError(f"{model}: {error}") from None
        with self._lock:
            return Served(model, version.version, version.output_id, self._folder(version, path), version.is_champion)

    def open(self, model: str, load: Callable[[Path], Any]) -> Any:
        """The model, by `load` from its folder. Raises NotServedError, and what `load` raises."""
        with self._lock:
            served = self.find(model)
            if self._loaded.get(model, ("", None))[0] != served.id:
                self._loaded[model] = served.id, load(served.folder)
            return self._loaded[model][1]

    def _choose(self, model: str, path: str, versions: Sequence[ModelVersion]) -> ModelVersion:
        newest_first = sorted(versions, key=lambda version: -int(version.version))
        usable = [version for version in newest_first if version.output_id and not version.is_retracted]
        if chosen := [version for version in usable if version.is_champion] or usable[: self.newest]:
            return chosen[0]
        if not versions:
            raise NotServedError(f"no version of {model} is registered; `figment materialize {model}` trains and registers one")
        if not usable:
            why = newest_first[0].tags.get("figment.retracted_reason", "it was trained on data that was withdrawn")
            raise NotServedError(f"{model} was withdrawn ({why}); `figment materialize {model}` trains it on what is left")
        why = usable[0].tags.get(PROMOTION_TAG, "nothing has judged it yet")
        judges = [name for name, stage in self.project.graph.stages.items() if path in stage.deps and name.endswith("report")]
        judged = f"`figment materialize {judges[0]}` judges it again" if judges else "No report of this project judges it"
        remedies = f"{judged}; `figment app --newest` shows it all the same"
        raise NotServedError(f"{model} has no champion: version {usable[0].version}, its newest, {why}. {remedies}")

    def _folder(self, version: ModelVersion, path: str) -> Path:
        """Where the bytes of `version` are: the output itself, or a copy from DVC's cache beside it."""
        content = self.project.content(path)
        if content is not None and content.id == version.output_id:
            return self.project.root / path
        copy = self.project.paths.state / "live" / version.output_id
        if not copy.is_dir() and (wrong := _check_out(self.project.cache_dir, version.output_id, copy)):
            raise NotServedError(
                f"version {version.version} of {version.model} is {version.output_id}, and neither {path} nor DVC's cache holds all of it ({wrong}); "
                f"`dvc fetch --all-commits {version.model}` brings it from a remote, `figment materialize {version.model}` trains anew"
            )
        return copy


def _check_out(cache: Path, id: str, target: Path) -> str:
    """Copy the folder `id` from DVC's cache. Where an object is missing or damaged, nothing is written, and the words that say which are returned."""
    members = cached_members(cache, id) if id.endswith(".dir") else None
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        for name, stored in (members or {}).items():
            copy = Path(folder, "whole", name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not stored.is_file():
                return f"no cache object of {name}"
            if file_md5(shutil.copyfile(stored, copy)) != stored.parent.name + stored.name:
                return f"damaged, to be removed first: {stored}"
        if not members:
            return "no list of its files"
        Path(folder, "whole").rename(target)
        return ""
