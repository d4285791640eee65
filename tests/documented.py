"""The commands that the pages show: lines of a fenced block without a language or marked `console`, and indented lines, that begin with a program."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = re.compile(r"(?:figment|dvc|make|python3?|git|\.venv/bin/\S+|[A-Z_]+=\S+ make)\s")


@dataclass(frozen=True)
class Command:
    """One line to type. text: without the comment behind it."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages(root: Path) -> list[Path]:
    """The pages with commands for people: README, docs and the bridge's own."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md")), root / "orchestration/bridge/README.md"]


def commands(root: Path) -> list[Command]:
    """Every command of every page, in the order of pages and lines."""
    found = []
    for page in pages(root):
        language: str | None = None
        # A line that goes on behind a backslash is one with the next.
        whole = re.sub(r"\\\n +", "", page.read_text(encoding="utf-8"))
        for number, line in enumerate(whole.splitlines(), 1):
            if fence := re.match(r"\s*```(\w*)", line):
                language = None if language is not None else fence[1]
            elif language in ("", "console") or (language is None and line.startswith("    ")):
                text = re.sub(r"\s+#\s.*", "", line).strip().removeprefix("$ ")
                if _PROGRAM.match(text + " "):
                    found.append(Command(page.relative_to(root).as_posix(), number, text))
    return found


def type_line(root: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Type a line in the project's folder, with its own code and a home of its own."""
    scripts = root / ".figment/typed"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / "figment").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orchestration.cli.main "$@"\n')
    (scripts / "figment").chmod(0o755)
    path = os.pathsep.join([str(scripts), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "HOME": str(root / ".figment"), "COLUMNS": "120"}
    return subprocess.run(["bash", "-c", text], cwd=root, env=environment, capture_output=True, text=True, timeout=600)
