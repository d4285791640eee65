"""A stage's command as compute.yaml wants it, for whoever runs it by hand or by `dvc repro`: the stage's program calls this by itself.

    python -m orchestration.launch STAGE COMMAND [ARGUMENT ...]

Exit status is the command's. SIGTERM and Ctrl-C end the job.
"""

import os
import shlex
import signal
import sys
from pathlib import Path

from orchestration.bridge.graph import GraphError
from orchestration.bridge.inputs import inputs_of, name_of_inputs
from orchestration.bridge.meta import stage_meta
from orchestration.bridge.process import Hold
from orchestration.checkout import find_root, open_project
from orchestration.launch.compute import COMPUTE_FILE, load_compute
from orchestration.launch.dispatch import LauncherByStage
from orchestration.launch.jobs import Job, LaunchError
from stages.params import ParamsError


def main(argv: list[str]) -> int:
    name, command = argv[0], argv[1:]
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        project = open_project(find_root(Path(os.environ["DVC_ROOT"]) if "DVC_ROOT" in os.environ else None))
        stage = project.graph[name]
        compute = load_compute(project.root / COMPUTE_FILE, list(project.graph.stages))
        hold = Hold(made_from=name_of_inputs(inputs_of(project, stage)))
        job = Job(name, [shlex.join(command)], Path.cwd(), dict(os.environ), stage_meta(stage).pool, hold)
        launcher = LauncherByStage(compute, project.root, project.paths.state)
        # DVC removes such outputs before it runs a command, also those that a job is writing; and each line of a command comes here by itself.
        if len(stage.cmd) > 1 or not all(out.persist for out in stage.outs):
            launcher.start_anew(name, _say)
        outcome = launcher(job, on_output=_say, is_cancelled=lambda: bool(asked))
    except (LaunchError, ParamsError, GraphError) as error:
        print(f"figment: {error}", file=sys.stderr)
        return 2
    return outcome.returncode


def _say(stream: str, line: str) -> None:
    print(line, file=sys.stderr if stream == "stderr" else sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
