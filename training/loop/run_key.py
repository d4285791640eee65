"""The key of a training: a hash of everything that decides its weights, and so of what may be continued."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

from stages.source_code import program_fingerprint

# Modules that watch, report or start a training and cannot change what it learns: mending them must not throw away a checkpoint.
NOT_DECISIVE = (
    "stages.artifact_id",
    "stages.markdown",
    "stages.program",
    "stages.reporting",
    "training.loop.run_key",
    "stages.source_code",
    "training.gans.one_off",
    "training.gans.picture_folder",
    "training.metrics",
    "training.tracking",
)


def run_key(stage: str, module: str, *, config: Mapping[str, Any], inputs: Mapping[str, str], libraries: Sequence[str] = ("torch",)) -> str:
    """16 hex digits. module: the training program, e.g. "training.polymers.gpt.train"; its code and that of all it imports counts.

    config: the decisive parameters. inputs: content id by name. libraries: distributions whose version counts.
    Comments and docstrings do not count.
    """
    versions = {name: importlib.metadata.version(name) for name in libraries}
    code = program_fingerprint(module, but=NOT_DECISIVE)
    decisive = {"stage": stage, "config": config, "inputs": dict(sorted(inputs.items())), "libraries": versions, "code": code}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
