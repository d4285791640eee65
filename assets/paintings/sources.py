"""Bring paintings and photographs together: from folders, zips and addresses, by content, with what is known of each.

    python -m assets.paintings.sources

Depends on its parameters only. A picture keeps its number for good; a source that is no longer named, and a picture whose SHA-256 is listed under
`withdrawn`, are gone from the next output, and from whatever is made of it.
"""

import contextlib
import hashlib
import sys
import urllib.parse
import zipfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from assets.demo_sites import open_site
from assets.downloads.guarded_http import DownloadError
from assets.downloads.named_sources import SHA256, check_source, check_sources, download_sources, part_of
from assets.downloads.one_file import DownloadRules, Wanted
from assets.images.gather import GatherConfig, GatherFacts, Original, gather
from assets.images.gather_report import report_gathered
from assets.paintings.layouts import KNOWN, domain_and_split
from assets.paintings.reading import Found, Limits, SourceError, UnusableError, pictures_in
from assets.paintings.tables import ORIGINALS, REJECTED, SERIALS, SOURCES
from formats.tables import read_table, table_from_rows, write_table
from stages.files import sha256_of
from stages.markdown import counted
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter

_TFRECORDS = (".tfrec", ".tfrecord", ".tfrecords")


@dataclass(frozen=True, kw_only=True)
class SourceParams:
    """One entry of `painting_sources.sources`.

    licence: required; `unknown` only where allow_unknown_licence is true.
    domain:  a or b: all its pictures, or, where its folders name domains, that one's; auto: as the folders say.
    kind:    folder or zip (`path`, from the project root), url (`url` of a zip or of one picture, and its `sha256`; null only until the first
             download has told it), or embedded (the zip `path` of the `site` that this project serves itself).
    """

    name: str
    kind: Literal["folder", "zip", "url", "embedded"]
    licence: str
    domain: Literal["a", "b", "auto"] = "auto"
    path: str = ""
    url: str = ""
    site: str = ""
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_source(self, {"folder": ["path"], "zip": ["path"], "url": ["url"], "embedded": ["site", "path"]})
        if self.kind == "folder" and self.sha256 is not None:
            raise ValueError(f"source '{self.name}': sha256 is of one file, and this source is a folder; remove it")

    @property
    def origin(self) -> str:
        """Where it is from, without what says something about this machine and nothing to others."""
        if self.kind == "url":
            return self.url
        if self.kind == "embedded":
            return f"{self.site}/{self.path}"
        return Path(self.path).name if Path(self.path).is_absolute() else self.path


@dataclass(frozen=True, kw_only=True)
class PaintingSourcesConfig(GatherConfig):
    """The section `painting_sources` of params.yaml: the limits of every picture (see GatherConfig), and

    withdrawn:               SHA-256 of pictures that must not be used.
    max_members, max_unpacked_mib, max_ratio: of a zip: members, what they unpack to together, and how many times its size that may be.
    allow_unknown_licence:   let sources of licence `unknown` in.
    allow_private_addresses: let `url` point into one's own network or machine.
    """

    sources: list[SourceParams]
    withdrawn: list[str] = field(default_factory=list)
    max_members: int = 200_000
    max_unpacked_mib: int = 65_536
    max_ratio: float = 100.0
    allow_unknown_licence: bool = False
    allow_private_addresses: bool = False
    max_download_mib: int = 8_192
    timeout_s: float = 60.0
    retries: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sources(self.sources, allow_unknown_licence=self.allow_unknown_licence)
        wrong = [text for text in self.withdrawn if not SHA256.fullmatch(text)]
        if wrong:
            raise ValueError(f"withdrawn must list SHA-256 of pictures, 64 hexadecimal digits each; found '{wrong[0]}'")

    def reading_limits(self) -> Limits:
        return Limits(int(self.max_mib * 2**20), self.max_members, self.max_unpacked_mib * 2**20, self.max_ratio)

    def download_rules(self, ours: frozenset[str]) -> DownloadRules:
        """ours: `host:port` of what this project serves itself."""
        return DownloadRules(
            max_bytes=self.max_download_mib * 2**20,
            timeout_s=self.timeout_s,
            retries=self.retries,
            allow_private_addresses=self.allow_private_addresses,
            trusted=ours,
        )


def gather_sources(config: PaintingSourcesConfig, target: Path, *, figment: Path, reporter: Reporter) -> GatherFacts:
    """Write the folder `target`: what `gather` writes, `sources.parquet` and `serials.parquet`.

    figment: the folder for what may be lost: downloads, and the memory of what pictures are.
    Raises SourceError or DownloadError naming the source; the previous output is then untouched.
    """
    paths = _fetch(config, target, figment / "downloads", reporter)
    serials = _Serials(target / "serials.parquet")
    originals: list[Original] = []
    set_aside: list[dict[str, Any]] = []
    for source in config.sources:
        pictures, unusable = _read_source(source, paths[source.name], config, serials)
        if not pictures:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in Counter(row["reason"] for row in unusable).items()) or "it is empty"
            first = f" (first: {unusable[0]['where']}: {unusable[0]['words']})" if unusable else ""
            raise SourceError(f"source '{source.name}': no picture in {source.origin}: {reasons}{first}")
        originals += pictures
        set_aside += unusable

    def also(output: OutputFolder, *_: object) -> None:
        write_table(output.file("sources.parquet"), table_from_rows(SOURCES, [_record(source, paths[source.name]) for source in config.sources]))
        write_table(output.file("serials.parquet"), table_from_rows(SERIALS, serials.rows()))

    schemas = {"index_schema": ORIGINALS, "rejected_schema": REJECTED}
    return gather(originals, config, target, **schemas, scratch=figment / "reuse" / target.name, set_aside=set_aside, also=also)


def _record(source: SourceParams, path: Path) -> dict[str, Any]:
    file = {} if path.is_dir() else {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    return {"source": source.name, "kind": source.kind, "origin": source.origin, "licence": source.licence, **file}


def _fetch(config: PaintingSourcesConfig, target: Path, scratch: Path, reporter: Reporter) -> dict[str, Path]:
    """Where each source lies, by name. What was downloaded stays in `scratch`, and is not asked for again as long as it is what it was."""
    paths: dict[str, Path] = {}
    known = {row["origin"]: row["sha256"] for row in _rows_of(target / "sources.parquet")}
    wanted: list[tuple[SourceParams, Wanted]] = []
    ours: set[str] = set()
    with contextlib.ExitStack() as sites:
        for source in config.sources:
            if source.kind in ("folder", "zip"):
                paths[source.name] = _local(source)
                continue
            path = paths[source.name] = part_of(source, source.origin, scratch)
            url, sha256 = source.url, source.sha256
            if source.kind == "embedded":
                try:
                    site = sites.enter_context(open_site(source.site))
                except ValueError as error:
                    raise SourceError(f"source '{source.name}': {error}") from None
                ours.add(urllib.parse.urlsplit(site).netloc)
                url = f"{site}/{urllib.parse.quote(source.path.lstrip('/'))}"
            elif sha256 is None and path.is_file() and sha256_of(path) == known.get(source.origin):
                # What lies here is the file if it is what was downloaded then. What this project serves is asked for each time.
                sha256 = known[source.origin]
            wanted.append((source, Wanted(url, path, {"sha256": sha256} if sha256 else {})))
        download_sources(wanted, config.download_rules(frozenset(ours)), what="painting_sources", reporter=reporter)
    return paths


def _local(source: SourceParams) -> Path:
    path = Path(source.path)
    if source.kind == "folder" and not path.is_dir():
        raise SourceError(f"source '{source.name}': {source.path}: no such folder; `path` is read from the project root")
    if source.kind == "zip" and not path.is_file():
        raise SourceError(f"source '{source.name}': {source.path}: no such file; `path` is read from the project root")
    if source.sha256 is not None and sha256_of(path) != source.sha256.lower():
        raise SourceError(f"source '{source.name}': {source.path} has sha256 {sha256_of(path)}, expected {source.sha256.lower()}; see why it changed")
    return path


def _read_source(source: SourceParams, path: Path, config: PaintingSourcesConfig, serials: "_Serials") -> tuple[list[Original], list[dict[str, Any]]]:
    """(its pictures, rows for what is not even looked at)."""
    is_one_picture = source.kind == "url" and source.domain != "auto"
    if path.is_file() and not (is_one_picture or zipfile.is_zipfile(path)):
        hint = "; one picture needs `domain`" if source.kind == "url" else ""
        raise SourceError(f"source '{source.name}': {source.origin} is not a zip, or is cut short; fetch it again{hint}")
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(source.url).path)).name or source.name
    try:
        files = pictures_in(path, config.reading_limits(), name=name)
    except SourceError as error:
        raise SourceError(f"source '{source.name}': {error}") from None
    withdrawn = {text.lower() for text in config.withdrawn}
    # A domain with a test set of its own learns from the rest.
    tested = {domain for file in files for domain, split in [domain_and_split(file.folders)] if split == "test"}
    pictures: list[Original] = []
    aside: list[dict[str, Any]] = []
    for file in files:
        domain, split = domain_and_split(file.folders)
        split = "train" if split is None and domain in tested else split
        columns = {"domain": domain or (source.domain if source.domain != "auto" else None), "split": split}
        columns |= {"licence": source.licence, "source": source.name, "where": file.where}
        try:
            _check_place(source, file, domain)
            sha256 = hashlib.sha256(file.read()).hexdigest()
        except UnusableError as error:
            aside.append({**columns, "reason": error.reason, "words": error.words})
            continue
        if sha256 in withdrawn:
            aside.append({**columns, "sha256": sha256, "reason": "withdrawn", "words": "listed under `withdrawn`"})
            continue
        serial = serials.of(source.name, file.where, sha256)
        pictures.append(Original(sha256, serial, columns, partial(_read_again, source, file, sha256)))
    return pictures, aside


def _check_place(source: SourceParams, file: Found, domain: str | None) -> None:
    if file.where.lower().endswith(_TFRECORDS):
        raise UnusableError("tfrecord", "TFRecords are not read; the same pictures lie in Kaggle's monet_jpg and photo_jpg")
    if domain is None and source.domain == "auto":
        raise UnusableError("no_domain", f"no folder of its path names a domain ({KNOWN}); rename one, or set `domain` of the source")
    if domain is not None and source.domain not in ("auto", domain):
        raise UnusableError("other_domain", f"its folder says domain {domain}, and the source is for domain {source.domain} alone")


def _read_again(source: SourceParams, file: Found, sha256: str) -> bytes:
    try:
        content = file.read()
    except UnusableError as error:
        raise SourceError(f"source '{source.name}': {file.where}: {error.words}; it changed while it was read: try again") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SourceError(f"source '{source.name}': {file.where} changed while it was read; try again")
    return content


class _Serials:
    """The number of every picture that ever came: by source, place and content, so that what is new comes last and nothing moves."""

    def __init__(self, path: Path) -> None:
        self._known = {(row["source"], row["where"], row["sha256"]): row["serial"] for row in _rows_of(path)}

    def of(self, source: str, where: str, sha256: str) -> int:
        return self._known.setdefault((source, where, sha256), len(self._known))

    def rows(self) -> Iterator[dict[str, Any]]:
        for (source, where, sha256), serial in self._known.items():
            yield {"serial": serial, "source": source, "where": where, "sha256": sha256}


def _rows_of(path: Path) -> list[dict[str, Any]]:
    return read_table(path).to_pylist() if path.is_file() else []


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(SourceError, DownloadError))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "painting_sources", PaintingSourcesConfig, overrides=arguments.overrides)
    target = arguments.data / "painting_sources"
    report_gathered(gather_sources(config, target, figment=Path(".figment"), reporter=reporter), target, reporter)
    reporter.markdown("sources", counted("source", "pictures", Counter(read_table(target / "index.parquet", ["source"])["source"].to_pylist())))


if __name__ == "__main__":
    sys.exit(main())
