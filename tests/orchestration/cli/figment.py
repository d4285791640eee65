"""Calls the command line in this process, as a test reads it: exit code, what it printed, and its JSON."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from orchestration.cli.main import main


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def figment(root: Path, *words: str) -> Answer:
    """`figment --root ROOT WORDS…`; argparse's own exits count as exit codes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["--root", str(root), *words])
        except SystemExit as ending:
            code = int(ending.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())
