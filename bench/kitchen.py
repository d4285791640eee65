"""A scratch folder in which benchmarks run stages of dvc.yaml by their own commands, with the project's parameters or others."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bench.measuring import ONE_THREAD, ROOT, cpu_and_wall_s
from stages.params import read_yaml

ALONE = {**ONE_THREAD, "FIGMENT_THREADS": "1"}


class Kitchen:
    """The scratch folder `work`. presets: files of settings on top of params.yaml. Stages are named as in DVC, such as `toc_dataset@128`."""

    def __init__(self, work: Path, presets: Sequence[Path] = ()) -> None:
        self.work, self.data = work.resolve(), work.resolve() / "data"
        self.stages: Mapping[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]
        self.sections: Mapping[str, Any] = read_yaml(ROOT / "params.yaml")
        for preset in presets:
            self.sections = merged(self.sections, read_yaml(preset))
        # Files of sources are named from the project; the scratch folder lies elsewhere.
        for source in self.sections["molecule_sources"]["sources"]:
            if source["kind"] == "file":
                source["path"] = str((ROOT / source["path"]).resolve())

    def command(self, stage: str, data: Path | None = None, **overrides: Any) -> list[str]:
        """The words that run the stage as `dvc repro` would, on the inputs below `data` (else the kitchen's own). overrides: of its parameters."""
        stated, item = self._stated(stage)
        # With the sections that the stage names alone: reading all of them takes a second or two.
        params = self.work / "params" / f"{stage}.yaml"
        params.parent.mkdir(parents=True, exist_ok=True)
        YAML(typ="safe").dump({name: self.sections[name] for name in stated["params"] if isinstance(name, str)}, params)
        settings = [word for key, value in overrides.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        words = stated["cmd"].replace("${item}", item).split()[1:]
        return [sys.executable, *words, "--params", str(params), "--data", str(data or self.data), *settings]

    def run(self, stage: str, **overrides: Any) -> float:
        """CPU seconds of the stage on one thread. One that fails ends the benchmark."""
        print(" ".join([stage, *(f"{key}={value}" for key, value in overrides.items())]), file=sys.stderr, flush=True)
        return cpu_and_wall_s(self.command(stage, **overrides), cwd=self.work, variables=ALONE)[0]

    def inputs(self, stage: str) -> list[str]:
        """The stages whose outputs it reads."""
        stated, item = self._stated(stage)
        named = [path.removeprefix("data/") for path in stated.get("deps", ()) if path.startswith("data/")]
        return [re.sub(r"\$\{(\w+)\.?(\w*)\}", lambda found: self._value(found[1], found[2], item), name) for name in named]

    def make_inputs(self, stage: str) -> None:
        """Run what the stage reads, and what that reads, as far as it is not there."""
        for name in self.inputs(stage):
            if not (self.data / name).exists():
                self.make_inputs(name)
                self.run(name)

    def _stated(self, stage: str) -> tuple[Mapping[str, Any], str]:
        name, _, item = stage.partition("@")
        return (self.stages[name]["do"] if item else self.stages[name]), item

    def _value(self, section: str, key: str, item: str) -> str:
        return str(self.sections[section][key]) if key else item


def merged(base: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `preset`, section by section and key by key, as `figment preset` has it."""
    both = {key for key, value in preset.items() if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)}
    return {**base, **{key: merged(base[key], value) if key in both else value for key, value in preset.items()}}
