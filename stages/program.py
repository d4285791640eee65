"""The command line every stage shares: `python -m MODULE [ARG] [--params PATH] [--data DIR] [--set key=value]…`.

Exit codes: 0 all well, 1 the stage failed, 2 the parameters or the usage are wrong, 130 Ctrl-C. An expected failure is one line on standard error.
"""

import os
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.files import NoSpaceError, is_disk_full
from stages.output_folder import OutputBusyError
from stages.params import ParamsError
from stages.reporting import Reporter, open_reporter

_MOST_WORKERS = 8


def program(
    description: str | None,
    body: Callable[[Namespace, Reporter], None],
    argv: Sequence[str] | None = None,
    *,
    expected: tuple[type[Exception], ...],
    configure: Callable[[ArgumentParser], None] | None = None,
) -> int:
    """Parse the shared flags, run `body`, and give the exit code.

    description: usually the module's docstring; its first line is shown by --help.
    expected:    the module's own error classes, whose message says all there is to say. ParamsError (exit 2) and OSError (a full disk, a file
                 that cannot be read) and OutputBusyError are always expected; anything else is a defect of ours and keeps its traceback.
    configure:   adds the module's own arguments to the parser.
    """
    arguments = _parser(description, configure).parse_args(argv)
    if argv is None:
        _go_where_compute_yaml_says()
    failures: tuple[type[Exception], ...] = (*expected, OutputBusyError, OSError)
    try:
        with open_reporter() as reporter:
            body(arguments, reporter)
    except ParamsError as error:
        return _fail(error, code=2)
    except KeyboardInterrupt:
        return _fail(InterruptedError("interrupted; the same command again goes on, or begins anew"), code=130)
    except Exception as error:
        # Libraries have words of their own for a full disk, and most name no path.
        if is_disk_full(error) and not isinstance(error, NoSpaceError):
            error = NoSpaceError(Path(getattr(error, "filename", None) or arguments.data))
        if isinstance(error, failures):
            return _fail(error, code=1)
        raise
    return 0


def add_workers(parser: ArgumentParser, who: str) -> None:
    """The flag --workers, for `configure`. who: such as "threads that make pictures"."""
    parser.add_argument("--workers", type=int, default=None, metavar="N", help=f"{who} (default: one for each core, at most {_MOST_WORKERS})")


def worker_count(arguments: Namespace) -> int:
    """How many were asked for, or the usual number. Raises ParamsError."""
    if arguments.workers is not None and arguments.workers < 1:
        raise ParamsError(f"--workers must be at least 1, found {arguments.workers}")
    return int(arguments.workers or usual_workers())


def usual_workers() -> int:
    """One for each core that this process may use, up to a bound."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)


def _go_where_compute_yaml_says() -> None:
    """Under a bare `dvc repro`: hand this very command to the launcher of compute.yaml, if that may want it elsewhere than here."""
    stage, root = os.environ.get("DVC_STAGE"), os.environ.get("DVC_ROOT")
    if not stage or not root or "FIGMENT_LAUNCHED" in os.environ:
        return
    try:
        compute = (Path(root) / "compute.yaml").read_text(encoding="utf-8")
    except OSError:
        return
    # Only a file that names another launcher at all is worth the start of the one who reads it.
    if re.search(r"^[^#\n]*\blauncher:\s*(?!local\b)\w", compute, re.MULTILINE):
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "orchestration.launch", stage, *sys.orig_argv])  # noqa: S606 (no shell is wanted)


def _parser(description: str | None, configure: Callable[[ArgumentParser], None] | None) -> ArgumentParser:
    summary = (description or "").strip().partition("\n")[0]
    parser = ArgumentParser(description=summary, allow_abbrev=False)
    if configure is not None:
        configure(parser)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="PATH", help="parameter file (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="folder of inputs and outputs (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="override one parameter of the stage; may be repeated"
    )
    return parser


def _fail(error: Exception, *, code: int) -> int:
    # One line whatever the message holds: the orchestrator shows the last line of standard error at the top of the failure.
    print(f"figment: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    return code
