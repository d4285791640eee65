"""A local folder as a web site: its files with their content types, and a plain list of links where a page for a folder is missing.

Nothing outside the folder can be had from it: no `..`, no symbolic link (even one that points inside), nothing hidden, nothing that is not a
plain file. Listings do not show what cannot be had.
"""

import hashlib
import html
import mimetypes
import os
import stat
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path

from assets.demo_sites.exchange import Request, Response, error_page, text

_TYPES = {
    ".md": "text/markdown; charset=utf-8",
    ".markdown": "text/markdown; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".htm": "text/html; charset=utf-8",
    ".xml": "application/xml",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".webp": "image/webp",
}
_ROBOTS = "User-agent: *\nDisallow:\n"


class FolderSite:
    """day: what its clock always says; None for the real time."""

    def __init__(self, folder: Path, *, hosts: tuple[str, ...], day: datetime | None = None) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder to serve; `folder` is read from the project root")
        self.folder = folder.resolve()
        self.hosts = hosts
        self._day = day
        self._hashes: dict[tuple[str, int, int], str] = {}

    def now(self) -> datetime:
        return self._day or datetime.now(UTC)

    def respond(self, request: Request) -> Response:
        if request.path == "/robots.txt" and not (self.folder / "robots.txt").is_file():
            return text(_ROBOTS)
        path = self._inside(request.path)
        if path is None:
            return error_page(404, "There is nothing here by that name.")
        if path.is_dir():
            if not request.path.endswith("/"):
                return error_page(301, "It is a folder.", headers=(("Location", f"http://{request.host}{urllib.parse.quote(request.path)}/"),))
            return self._listing(path, request.path)
        return self._file(path)

    def _inside(self, path: str) -> Path | None:
        """The file or folder that `path` names, or None."""
        # Names are judged before the disk is asked; then the path must be its own real path, so that no link, inside or out, is followed.
        names = [name for name in path.split("/") if name]
        if any(name.startswith(".") or "\\" in name or "\0" in name for name in names):
            return None
        wanted = self.folder.joinpath(*names)
        try:
            mode = wanted.lstat().st_mode
            is_itself = Path(os.path.realpath(wanted)) == wanted
        except OSError:
            return None
        is_file = stat.S_ISREG(mode) and not path.endswith("/")
        return wanted if is_itself and (is_file or stat.S_ISDIR(mode)) else None

    def _file(self, path: Path) -> Response:
        try:
            body, changed = path.read_bytes(), path.stat().st_mtime
        except OSError:
            return error_page(404, "There is nothing here that can be read.")
        kind = _TYPES.get(path.suffix.lower()) or mimetypes.types_map.get(path.suffix.lower(), "application/octet-stream")
        return Response(body, kind, etag=f'"{self._hash(path)}"', last_modified=datetime.fromtimestamp(int(changed), UTC))

    def _listing(self, folder: Path, path: str) -> Response:
        """A list of links, by name. `data-fingerprint` says what a file's bytes are, so that a reader of the list knows what has changed."""
        entries = sorted(entry.name for entry in folder.iterdir() if self._inside(f"{path}{entry.name}"))
        lines = []
        for name in entries:
            entry = folder / name
            shown = name + "/" * entry.is_dir()
            mark = "" if entry.is_dir() else f' data-fingerprint="{self._hash(entry)}"'
            lines.append(f'<li><a href="{html.escape(urllib.parse.quote(shown))}"{mark}>{html.escape(shown)}</a></li>')
        title = f"Index of {html.escape(path)}"
        body = f"<!doctype html>\n<html><head><meta charset=utf-8><title>{title}</title></head>\n<body><h1>{title}</h1>\n<ul>\n"
        return Response(("\n".join([body + "\n".join(lines), "</ul>", "</body></html>"]) + "\n").encode())

    def _hash(self, path: Path) -> str:
        status = path.stat()
        key = (str(path), status.st_mtime_ns, status.st_size)
        if key not in self._hashes:
            self._hashes[key] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        return self._hashes[key]
