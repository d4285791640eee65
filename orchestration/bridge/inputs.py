"""What a stage's command gets to see: its inputs as they are now, and its environment."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .dvc_repo import as_text
from .graph import Stage
from .project import Project


def inputs_of(project: Project, stage: Stage) -> dict[str, object]:
    """Everything the command's result depends on, as it is now, in the words of `dvc_repo.recorded_inputs`."""
    inputs: dict[str, object] = {path: content.id if (content := project.content(path)) else None for path in stage.deps}
    for tracked in stage.params:
        inputs[tracked.path] = as_text(project.param_values(tracked))
    current = project.graph.stages.get(stage.name) or project.graph.preludes.get(stage.name)
    inputs["dvc.yaml"] = current.cmd if current else None
    return inputs


def name_of_inputs(inputs: Mapping[str, object]) -> str:
    """One word for all of `inputs_of`: equal inputs have equal words, on every machine."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:32]


def command_environment(project: Project, stage: Stage) -> dict[str, str]:
    """The environment DVC would give the command, with this Python first on the path."""
    environment = dict(os.environ)
    here = str(Path(sys.executable).parent)
    path = environment.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != here:
        environment["PATH"] = os.pathsep.join([here, path])
    environment |= {"DVC_STAGE": stage.address, "DVC_ROOT": str(project.root)}
    return environment
