"""The command line of every viewer: MODEL, --port, --open; serves until Ctrl-C."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from stages.ports import port_number
from training.gans.viewer.model import ViewedModel
from training.gans.viewer.server import serve
from training.loop.devices import open_devices


def view_program(
    description: str | None,
    open_view: Callable[[Path, torch.device], ViewedModel],
    argv: Sequence[str] | None,
    *,
    expected: type[Exception],
    model_help: str,
) -> int:
    """Exit codes: 0 stopped, 1 no model to look at, 2 the port is taken or the usage is wrong. expected: what `open_view` raises for no model."""
    parser = ArgumentParser(description=(description or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help=model_help)
    parser.add_argument("--port", type=port_number, default=0, metavar="N", help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    arguments = parser.parse_args(argv)
    with open_devices() as devices:
        try:
            view = open_view(arguments.model, devices.device)
        except (expected, OSError) as error:
            return _fail(str(error), code=1)
        try:
            serve(view, port=arguments.port, open_browser=arguments.open, say=lambda line: print(line, flush=True))
        except OSError as error:
            return _fail(f"port {arguments.port}: {error.strerror or error}; stop what listens there, or give another port (or none)", code=2)
    return 0


def _fail(reason: str, *, code: int) -> int:
    print(f"figment: {' '.join(reason.split())}", file=sys.stderr, flush=True)
    return code
