"""Which libraries decide the bytes of an artifact, and their versions, kept in `libraries.yaml` beside `params.yaml`.

A stage whose code imports one of them lists it under `params: [libraries.yaml: […]]`, so a library bump makes exactly the stages that use it
stale, with that reason. Only distribution metadata is read here; no library is imported.
"""

import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "libraries.yaml"

# Import name -> distribution. A library is here when the same call in another release may write other bytes or compute other numbers.
BYTE_DECIDING: Mapping[str, str] = {
    "PIL": "pillow",
    "av": "av",
    "fcd_torch": "fcd_torch",
    "isal": "isal",
    "lxml": "lxml",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "parsel": "parsel",
    "pyarrow": "pyarrow",
    "rdkit": "rdkit",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "transformers": "transformers",
}

# Stands for a library that no machine has needed yet; installing it is a change like any other.
ABSENT = "absent"

_HEADING = """\
# The versions of the libraries that decide the bytes of an artifact. Written by `figment deps`; not edited by hand.
# Stages list what they use under `params`, so a new version makes exactly those stages stale.
"""


@dataclass(frozen=True)
class Change:
    """One thing a generated file says (`before`) that it should not, or does not say yet (`after`). `where` is file and place."""

    where: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    def __str__(self) -> str:
        added = [f"+ {word}" for word in self.after if word not in self.before]
        removed = [f"- {word}" for word in self.before if word not in self.after]
        return f"{self.where}: {', '.join(removed + added)}"


class LibrariesError(Exception):
    """libraries.yaml is not what `figment deps` writes; the message says where and how to mend it."""


def distributions_of(import_names: Iterable[str]) -> list[str]:
    """The byte-deciding distributions among top-level `import_names`, sorted."""
    return sorted({BYTE_DECIDING[name] for name in import_names if name in BYTE_DECIDING})


def write_versions(root: Path) -> list[Change]:
    """Bring `root`/libraries.yaml up to date with what is installed here; returns what changed."""
    changes = drift(root)
    path = root / FILE_NAME
    if changes or not path.is_file():
        versions = _wanted(_recorded(path))
        text = _HEADING + "".join(f"{name}: '{version}'\n" for name, version in versions.items())
        temporary = path.with_suffix(".yaml.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    return changes


def drift(root: Path) -> list[Change]:
    """Where `root`/libraries.yaml and the installed libraries differ.

    A library that is not installed here keeps the version on record: a training box without rdkit does not make the datasets stale.
    Raises LibrariesError when the file cannot be read.
    """
    recorded = _recorded(root / FILE_NAME)
    wanted = _wanted(recorded)
    return [
        Change(f"{FILE_NAME}: {name}", _words(recorded.get(name)), _words(wanted.get(name)))
        for name in sorted(recorded.keys() | wanted.keys())
        if recorded.get(name) != wanted.get(name)
    ]


def installed_version(distribution: str) -> str | None:
    """The release of `distribution` in this environment, or None. A build suffix is left out: `2.13.0+cpu` and `2.13.0+cu130` are one
    release, and on which of them a training runs is the launcher's choice, never part of an identity.
    """
    try:
        return importlib.metadata.version(distribution).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _wanted(recorded: Mapping[str, str]) -> dict[str, str]:
    names = sorted(BYTE_DECIDING.values())
    return {name: installed_version(name) or recorded.get(name, ABSENT) for name in names}


def _recorded(path: Path) -> dict[str, str]:
    """The file as written: `name: 'version'` per line. Read by hand, because a YAML parser costs more than all the rest of `figment status`."""
    if not path.is_file():
        return {}
    versions = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, version = line.partition(":")
        if not colon or not version.strip():
            raise LibrariesError(f"{path}:{number}: expected `name: 'version'`, found {line!r}; delete {FILE_NAME} and run `figment deps`")
        versions[name.strip()] = version.strip().strip("'\"")
    return versions


def _words(version: str | None) -> tuple[str, ...]:
    return () if version is None else (version,)
