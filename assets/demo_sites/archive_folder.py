"""PDF files of a local folder as the items of an archive, so that what lies on disk takes the way that harvested books take.

A file is an item by the name of its stem; `<stem>_bw.pdf`, `<stem>_jp2.zip` and other files that begin so and lie beside it belong to the same item.
So does everything in a folder that has the item's own name, as the archive's own client leaves it: `<identifier>/<identifier>.pdf`.
Saved answers of `/metadata` (`<identifier>.json`, or lines of `{"identifier": …, "response": …}` in *.jsonl and *.jsonl.gz) lend items their fields;
those whose files are not here are answered as they were saved. Sums and sizes are always those of the files as they are.
"""

import functools
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from assets.demo_sites.archive import ArchiveSite, Item, ItemFile

_FORMATS = (
    ("_bw.pdf", "Grayscale PDF"), ("_text.pdf", "Additional Text PDF"), (".pdf", "Text PDF"), ("_jp2.zip", "Single Page Processed JP2 ZIP"),
    ("_djvu.txt", "DjVuTXT"), (".txt", "Text"),
)  # fmt: skip
_MAIN = re.compile(r"(?<!_bw)(?<!_text)\.pdf$|_jp2\.zip$", re.IGNORECASE)


class ArchiveFolderSite(ArchiveSite):
    """Serves what `folder` holds. skipped: files that could not be read as saved answers, in words."""

    def __init__(self, folder: Path, *, hosts: tuple[str, ...], day: datetime) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder to serve; `folder` is read from the project root")
        self.skipped: list[str] = []
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and not _is_hidden(path, folder))
        saved = dict(self._saved(files))
        since = int(day.timestamp())
        groups = _groups(files, folder)
        items = [_item(name, paths, saved.get(name), since, folder.resolve().name) for name, paths in groups.items()]
        others = [Item(name, updated=since, saved=answer) for name, answer in saved.items() if name not in groups]
        super().__init__([*items, *others], hosts=hosts, day=day)

    def _saved(self, files: list[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for path in files:
            try:
                if path.suffix == ".json":
                    answer = json.loads(path.read_bytes())
                    yield str(answer["metadata"]["identifier"]), answer
                elif path.name.endswith((".jsonl", ".jsonl.gz")):
                    body = path.read_bytes()
                    for line in (gzip.decompress(body) if path.suffix == ".gz" else body).splitlines():
                        row = json.loads(line)
                        yield str(row["identifier"]), dict(row["response"])
            except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
                self.skipped.append(f"{path.name}: {type(error).__name__}: {error}")


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _groups(files: list[Path], root: Path) -> dict[str, list[Path]]:
    """Identifier → the item's files."""
    main = {(path.parent, re.sub(r"_jp2$", "", path.stem)) for path in files if _MAIN.search(path.name)}
    whole = {folder for folder, stem in main if folder.name == stem}
    often = Counter(stem for folder, stem in main if folder not in whole or folder.name == stem)
    by_place: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        ends = [mark.start() for mark in re.finditer(r"[._]", path.name)]
        stems = [path.parent.name] if path.parent in whole else [path.name[:end] for end in reversed(ends)]
        stem = next((stem for stem in stems if (path.parent, stem) in main), "")
        if stem and not path.name.endswith((".json", ".jsonl", ".jsonl.gz")):
            by_place.setdefault((path.parent, stem), []).append(path)
    groups: dict[str, list[Path]] = {}
    for (folder, stem), paths in by_place.items():
        # Two files of one name are two items, called by their paths.
        words = stem if often[stem] == 1 else "-".join([*folder.relative_to(root).parts, stem])
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", words)
        groups[name if name not in groups else f"{name}-{len(groups)}"] = paths
    return groups


def _item(identifier: str, paths: list[Path], saved: Mapping[str, Any] | None, since: int, collection: str) -> Item:
    saved = saved or {}
    known = {str(entry.get("name")): entry for entry in saved.get("files", ()) if isinstance(entry, dict)}
    title = re.sub(r"[_-]+", " ", identifier)
    made = {"identifier": identifier, "mediatype": "texts", "title": title, "collection": re.sub(r"[^A-Za-z0-9._-]+", "_", collection)}
    files = []
    for path in paths:
        told = known.get(path.name, {})
        format = told.get("format") or next((name for ending, name in _FORMATS if path.name.lower().endswith(ending)), "Unknown")
        files.append(ItemFile(path.name, str(format), str(told.get("source", "original")), since, functools.partial(path.read_bytes), facts=told))
    return Item(identifier, {**made, **saved.get("metadata", {})}, tuple(files), int(saved.get("item_last_updated", since)))
