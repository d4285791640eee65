"""Look at a trained generator in the browser: seeds, walks, truncation, layers; of a StyleGAN3 also placement and style mixing.

Serves a page on 127.0.0.1 until Ctrl-C. MODEL is an artifact, a folder that holds a trained model, or a snapshot of NVIDIA's (.pkl), which is read
without running anything in it.

Examples:
  figment view stylegan3_toc --open
  figment view data/stylegan3_toc --port 8000
  figment view pggan_pages
  figment view network-snapshot-005000.pkl

exit codes: 0 stopped · 1 there is no model to look at · 2 a port is taken, wrong usage or configuration
"""

import argparse
import json
import os
import sys
from pathlib import Path

from formats.weights import CONFIG_NAME
from orchestration.checkout import open_project
from orchestration.errors import CommandError, Exit
from stages.ports import port_number

# The program that shows a model, by the model_type in its config.json.
_PROGRAMS = {"stylegan3": "training.stylegan3.view", "progressive_gan": "training.progressive.view"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an artifact, a model's folder, or a .pkl snapshot of NVIDIA's")
    parser.add_argument("--port", type=port_number, default=None, metavar="N", help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser once it answers")


def run(root: Path, arguments: argparse.Namespace) -> int:
    path = _path_of(root, arguments.model)
    command = [sys.executable, "-m", _program_of(path), str(path)]
    command += [] if arguments.port is None else ["--port", str(arguments.port)]
    command += ["--open"] if arguments.open else []
    # This process becomes the viewer: Ctrl-C and its exit code need no go-between.
    os.chdir(root)
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


def _path_of(root: Path, model: str) -> Path:
    """Absolute. A word alone is an artifact before it is a folder."""
    given = Path(model).expanduser().absolute()
    if given.is_file() or os.sep in model:
        if not given.exists():
            raise CommandError(f"{given}: no such file or folder", Exit.DISAGREES)
        return given
    graph = open_project(root).graph
    if model not in graph.stages and given.exists():
        return given
    outs = graph.artifact(model).data_outs
    if len(outs) != 1:
        raise CommandError(f"{model} has {len(outs)} outputs; give the folder that holds the model")
    path = root.absolute() / outs[0].path
    if not path.exists():
        raise CommandError(f"{model} is not here ({path}); `figment materialize {model}` makes it, `dvc pull {model}` fetches it", Exit.DISAGREES)
    return path


def _program_of(path: Path) -> str:
    if path.is_file():
        return _PROGRAMS["stylegan3"]
    config = path / CONFIG_NAME
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandError(f"{path} holds no model ({CONFIG_NAME} is missing)", Exit.DISAGREES) from None
    except (OSError, ValueError) as error:
        raise CommandError(f"{config}: cannot be read ({error})", Exit.DISAGREES) from None
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind not in _PROGRAMS:
        raise CommandError(f"{path} holds a model of the kind {kind!r}, which has no viewer; there is one for {', '.join(_PROGRAMS)}", Exit.DISAGREES)
    return _PROGRAMS[kind]
