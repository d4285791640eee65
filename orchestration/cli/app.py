"""Try the trained models in the browser: picture to title, title to abstract, abstract to title, papers, molecules, walks.

Serves a page on 127.0.0.1 until Ctrl-C. Each tab shows the version that the registry calls champion; a tab without one says what to materialize.

Examples:
  figment app --open
  figment app --newest --port 7900

exit codes: 0 stopped · 2 a port is taken, wrong usage or configuration, or gradio is not installed
"""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from orchestration.errors import CommandError
from stages.ports import port_number


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=port_number, metavar="N", help="port on 127.0.0.1 (default: the first free one from 7860)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser once it answers")
    parser.add_argument("--newest", action="store_true", help="where a model has no champion, show its newest version and say so")


def run(root: Path, arguments: argparse.Namespace) -> int:
    from orchestration.runs.up import is_free

    if find_spec("gradio") is None:
        raise CommandError("the apps need gradio, which is not installed: pip install -e '.[app]'")
    if arguments.port and not is_free(arguments.port):
        raise CommandError(f"port {arguments.port} of 127.0.0.1 is taken; --port N names another, and without it there is any free one")
    # A program by its name, since this package knows nothing of what is served; and this process becomes it, so that Ctrl-C needs no go-between.
    command = [sys.executable, "-m", "app.live.serve", "--root", str(root), *(["--port", str(arguments.port)] if arguments.port else [])]
    os.chdir(root)
    os.execv(sys.executable, command + [flag for flag in ("--open", "--newest") if getattr(arguments, flag[2:])])  # noqa: S606 - no shell is wanted
