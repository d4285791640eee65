"""figment: one graph of artifacts that DVC versions, Dagster runs and MLflow records.

Finds the verb, loads that verb's module alone, and turns expected errors into one line.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from orchestration.bridge.graph import GraphError
from orchestration.errors import CommandError, Exit
from stages.near_misses import did_you_mean
from stages.params import ParamsError

# Verb -> what it does in a line. The module of a verb has its name, but for the few listed in _MODULES.
VERBS = {
    "status": "say which artifacts are fresh, stale, missing or running, and why",
    "why": "say why an artifact is stale, or what it was made from",
    "materialize": "bring artifacts up to date in one Dagster run",
    "nightly": "look at the sources again and let the data follow",
    "retract": "withdraw papers from every artifact and tag the models made from them",
    "doctor": "compare files, DVC, Dagster and MLflow byte by byte, and mend what is safe to mend",
    "id": "print the id of a file or folder",
    "export": "copy the data of an artifact out of the project",
    "import": "bring along what other programs left: configurations, pictures, weights",
    "view": "look at a trained generator in the browser",
    "generate": "write molecules or polymers with wanted properties",
    "app": "try the trained models in the browser",
    "preset": "take the settings of a preset into params.yaml",
    "crawl": "say who would read an address, and what is found there; nothing is stored",
    "jobs": "see, follow and end this project's jobs on the cluster",
    "sbom": "write a bill of materials of what is installed, or look it up in a database of known vulnerabilities",
    "move-stores": "move the records of Dagster and MLflow into a lab's stores",
    "up": "open Dagster and MLflow on this machine until Ctrl-C",
    "demo": "do the main job from end to end and show what came out",
}
_MODULES = {"move-stores": "move_stores", "id": "identify", "import": "import_"}
_EPILOG = """\
exit codes: 0 all well · 1 something is stale, failed or disagrees · 2 wrong usage or configuration

`figment VERB --help` says more of each verb."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except (GraphError, CommandError, ParamsError) as error:
        print(f"figment: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, CommandError) else Exit.USAGE
    except KeyboardInterrupt:
        print("figment: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (`figment status | head`) has seen enough; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.WELL


def _run(argv: list[str]) -> int:
    # Two parsers, the second made by the verb's own module: `figment status` never loads what `figment materialize` needs.
    given = _top_parser().parse_args(argv)
    if given.version:
        print(f"figment {version()}")
        return Exit.WELL
    if given.verb is None:
        _top_parser().print_help()
        return Exit.USAGE
    if given.verb not in VERBS:
        _refuse(given.verb)
    module = verb_module(given.verb)
    arguments = verb_parser(given.verb, module).parse_args(given.rest)
    root = arguments.root or given.root
    # A verb that looks at bytes alone works anywhere.
    return int(module.run(find_root(root) if getattr(module, "NEEDS_PROJECT", True) else Path.cwd(), arguments))


def verb_module(verb: str) -> ModuleType:
    """The module behind a verb: `configure(parser)`, `run(root, arguments) -> exit code`, and its docstring as the help text."""
    return importlib.import_module(f"orchestration.cli.{_MODULES.get(verb, verb)}")


def verb_parser(verb: str, module: ModuleType) -> argparse.ArgumentParser:
    """The parser of one verb. The module's docstring is its help: what comes before "Examples:" above the options, the rest below them."""
    description, _, rest = (module.__doc__ or "").partition("\nExamples:\n")
    parser = argparse.ArgumentParser(
        prog=f"figment {verb}",
        description=description.strip(),
        epilog=f"Examples:\n{rest.rstrip()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--root", type=Path, default=None, metavar="DIR", help="the project's folder (default: the nearest one with a dvc.yaml)")
    module.configure(parser)
    return parser


def find_root(given: Path | None) -> Path:
    """The project folder: the one given, or the nearest above that has a dvc.yaml."""
    from orchestration.checkout import find_root as nearest

    if given is not None and not (given / "dvc.yaml").is_file():
        raise CommandError(f"--root {given}: no dvc.yaml there; give the folder of a project")
    root = nearest(given)
    _refuse_other_checkout(root)
    return root


def _refuse_other_checkout(root: Path) -> None:
    """Each checkout is served by its own code. The programs of a copied .venv start that of the place it was made in."""
    code = Path("orchestration/cli/main.py")
    here = Path(__file__).resolve().parents[2]
    if (root / code).is_file() and not (root / code).samefile(here / code):
        raise CommandError(f"this program runs the code of {here}, and {root} has its own; there: `make setup`, then `.venv/bin/figment`")


def version() -> str:
    """The installed release of figment."""
    import importlib.metadata

    try:
        return importlib.metadata.version("figment")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed; run from its sources)"


def _top_parser() -> argparse.ArgumentParser:
    # What follows the verb is left to the verb's own parser, so that this one needs none of their modules.
    width = max(map(len, VERBS))
    listing = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="figment",
        usage="figment [--root DIR] [--version] VERB …",
        description=f"{(__doc__ or '').splitlines()[0].removeprefix('figment: ')}\n\nverbs:\n{listing}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--root", type=Path, default=None, metavar="DIR", help="the project's folder (default: the nearest one with a dvc.yaml)")
    parser.add_argument("--version", action="store_true", help="print the release and end")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _refuse(verb: str) -> NoReturn:
    raise CommandError(f"no verb '{verb}'{did_you_mean(verb, VERBS)}; verbs: {', '.join(VERBS)}")


if __name__ == "__main__":
    sys.exit(main())
