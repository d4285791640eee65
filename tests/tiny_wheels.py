"""Wheels of a few hundred bytes; and the build backend of a tiny project, into which the tests of `make setup` copy this file."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def make_wheel(folder: Path, name: str, version: str, *, metadata: str = "", files: Mapping[str, str] | None = None) -> str:
    """Write a pure-Python wheel. metadata: further lines of its METADATA. files: text by path inside the wheel. Returns the file's name."""
    info = f"{name}-{version}.dist-info"
    content = {
        **(files or {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tiny\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    file_name = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / file_name, "w") as archive:
        for path, text in content.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16  # a file that may be run
            archive.writestr(entry, text)
    return file_name


def build_editable(wheel_directory: str, *_: Any) -> str:
    """The tiny project of the present folder, installed in place: module `tiny` and a program `where` that prints whose code it runs."""
    metadata = "".join(f"Provides-Extra: {extra}\nRequires-Dist: {needed}; extra == '{extra}'\n" for extra, needed in EXTRAS)
    files = {"tiny.pth": f"{Path.cwd()}\n", "tiny-1.dist-info/entry_points.txt": "[console_scripts]\nwhere = tiny:where\n"}
    return make_wheel(Path(wheel_directory), "tiny", "1", metadata=metadata, files=files)


EXTRAS = (("all", "torch"), ("all", "other"), ("chem", "other"))


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
