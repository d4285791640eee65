"""Bring the molecule sources together: copy, download or generate each file, and write down where it came from and how to read it.

    python -m assets.molecules.sources

Depends on its parameters only: running it again keeps every file that is still asked for, and asks the network for new addresses alone.
"""

import re
import shutil
import sys
import urllib.parse
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Literal

from assets.downloads.guarded_http import DownloadError
from assets.downloads.named_sources import check_source, check_sources, download_sources, part_of
from assets.downloads.one_file import DownloadRules, Wanted
from assets.molecules.reading import SourceFile, read_rows, source_properties
from assets.molecules.repeat_units import make_repeat_units
from assets.molecules.rows import ReadOptions, Row, SourceError
from assets.molecules.source_index import options_to_json, read_index
from formats.tables import SOURCE_INDEX, table_from_rows, write_table
from stages.files import sha256_of
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter


@dataclass(frozen=True, kw_only=True)
class SourceParams(ReadOptions):
    """One entry of `molecule_sources.sources`.

    kind:    rdkit (`path` inside the rdkit wheel, from its Data or Contrib folder), file (`path` from the project root), url (`url`, and its
             `sha256`; null only until the first download has told it), or repeat_units (`count` units made from the source named by `of`).
    role:    the dataset it feeds.
    licence: required; `unknown` only where allow_unknown_licence is true.
    The other keys say how to read the file; see assets/molecules/rows.py. Known layouts need none of them.
    """

    name: str
    kind: Literal["rdkit", "file", "url", "repeat_units"]
    licence: str
    role: Literal["molecules", "polymers"] = "molecules"
    path: str = ""
    url: str = ""
    sha256: str | None = None
    of: str = ""
    count: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_source(self, {"rdkit": ["path"], "file": ["path"], "url": ["url"], "repeat_units": ["of"]})
        if self.kind == "repeat_units" and self.count < 1:
            raise ValueError(f"source '{self.name}': count must be at least 1, found {self.count}")
        if not all(text.strip() for text in self.attachment_points):
            raise ValueError(f"source '{self.name}': attachment_points holds an empty text; write what stands for `*`, such as '[Po]'")

    def options(self) -> ReadOptions:
        """How to read the file."""
        return ReadOptions(**{field.name: getattr(self, field.name) for field in fields(ReadOptions)})


@dataclass(frozen=True)
class MoleculeSourcesConfig:
    """The section `molecule_sources` of params.yaml.

    allow_unknown_licence:   let sources of licence `unknown` in; their molecules carry it.
    allow_private_addresses: let `url` point into one's own network or machine.
    """

    sources: list[SourceParams]
    allow_unknown_licence: bool = False
    allow_private_addresses: bool = False
    max_download_mib: int = 2_048
    timeout_s: float = 60.0
    retries: int = 4

    def __post_init__(self) -> None:
        check_sources(self.sources, allow_unknown_licence=self.allow_unknown_licence)
        known: set[str] = set()
        for source in self.sources:
            if source.of and source.of not in known:
                raise ValueError(f"source '{source.name}' is made of '{source.of}', which must stand before it; there: {', '.join(known) or 'none'}")
            known.add(source.name)

    def download_rules(self) -> DownloadRules:
        return DownloadRules(
            max_bytes=self.max_download_mib * 2**20,
            timeout_s=self.timeout_s,
            retries=self.retries,
            allow_private_addresses=self.allow_private_addresses,
        )


def fetch_sources(config: MoleculeSourcesConfig, target: Path, *, scratch: Path, reporter: Reporter) -> list[dict]:
    """Write the folder `target`: `files/<source>/<file>` and `index.parquet`; gives the records of the index.

    scratch: where unfinished downloads wait to be continued.
    Raises SourceError or DownloadError naming the source; the previous output is then untouched.
    """
    with OutputFolder(target) as output:
        # Sources in the order of the parameters: repeat units are made of a file that is there already.
        fetcher = _Fetcher(config, output, {record["source"]: record for record in read_index(target)}, scratch, reporter)
        # Side by side, and before anything is made of them.
        fetcher.download()
        for source in config.sources:
            fetcher.fetch(source)
        write_table(output.file("index.parquet"), table_from_rows(SOURCE_INDEX, fetcher.records))
    return fetcher.records


@dataclass
class _Fetcher:
    """Puts one source after the other into the output. previous: the old index by source; records: the new index so far."""

    config: MoleculeSourcesConfig
    output: OutputFolder
    previous: dict[str, dict]
    scratch: Path
    reporter: Reporter
    records: list[dict] = field(default_factory=list)
    downloaded: dict[str, Path] = field(default_factory=dict)

    def download(self) -> None:
        """Fetch the addresses whose files are not at hand. What came with a checksum, also when others failed, is not asked for again."""
        missing = [source for source in self.config.sources if source.kind == "url" and not self._is_at_hand(source)]
        wanted = [
            (source, Wanted(source.url, part_of(source, source.url, self.scratch), {"sha256": source.sha256} if source.sha256 else {}))
            for source in missing
        ]
        download_sources(wanted, self.config.download_rules(), what="molecule_sources", reporter=self.reporter)
        self.downloaded = {source.name: one.target for source, one in wanted}

    def fetch(self, source: SourceParams) -> None:
        name = _place(source)
        path = self.output.file(name)
        if source.name in self.downloaded:
            shutil.move(self.downloaded[source.name], path)
        elif source.kind == "url":
            self.output.keep(name)
        elif source.kind == "repeat_units":
            _generate(source, self._parent(source), path)
        else:
            _copy(source, _wheel_path(source) if source.kind == "rdkit" else Path(source.path), path)
        self.records.append(_record(source, name, path))
        _check_readable(source, path)

    def _is_at_hand(self, source: SourceParams) -> bool:
        """Whether the previous output has the file that is asked for, with the bytes that its index says."""
        old, record = self.output.previous(_place(source)), self.previous.get(source.name)
        if old is None or record is None or record["origin"] != source.url or record["sha256"] != (source.sha256 or record["sha256"]).lower():
            return False
        if sha256_of(old) == record["sha256"]:
            return True
        self.reporter.log(f"source '{source.name}': the file at hand is not what was downloaded; fetching it again")
        return False

    def _parent(self, source: SourceParams) -> SourceFile:
        record = next(record for record in self.records if record["source"] == source.of)
        options = next(parent for parent in self.config.sources if parent.name == source.of).options()
        return SourceFile(source.of, self.output.file(record["file"]), record["role"], record["licence"], record["origin"], options)


def _copy(source: SourceParams, origin: Path, path: Path) -> None:
    try:
        shutil.copyfile(origin, path)
    except FileNotFoundError:
        raise SourceError(f"source '{source.name}': {source.path}: no such file; `path` is read from the project root") from None
    except IsADirectoryError:
        raise SourceError(f"source '{source.name}': {source.path} is a folder; `path` must name a file") from None
    if source.sha256 is not None and sha256_of(path) != source.sha256.lower():
        raise SourceError(
            f"source '{source.name}': checksum mismatch: {source.path} has sha256 {sha256_of(path)}, expected {source.sha256.lower()}; "
            "see why the file changed, and only then write down the new sha256"
        )


def _wheel_path(source: SourceParams) -> Path:
    """The file `Data/…` or `Contrib/…` of the installed rdkit."""
    from rdkit import RDConfig

    folders = {"Data": RDConfig.RDDataDir, "Contrib": RDConfig.RDContribDir}
    first, *rest = PurePosixPath(source.path).parts
    path = Path(folders.get(first, "")).joinpath(*rest)
    if first not in folders or ".." in rest:
        raise SourceError(f"source '{source.name}': path '{source.path}' must begin with Data/ or Contrib/, the folders of the rdkit wheel")
    if not path.is_file():
        raise SourceError(f"source '{source.name}': the installed rdkit has no file {source.path}; this may be a build other than the wheel")
    return path


def _generate(source: SourceParams, parent: SourceFile, path: Path) -> None:
    molecules = ((row.text, row.id or str(row.row)) for row in read_rows(parent) if isinstance(row, Row) and row.form == "smiles")
    units = make_repeat_units(molecules, count=source.count, seed=source.seed)
    path.write_text("".join(f"{unit}\t{source.of}-{name}\n" for unit, name in units), encoding="utf-8")


def _origin(source: SourceParams) -> str:
    if source.kind == "url":
        return source.url
    if source.kind == "repeat_units":
        return f"generated from {source.of} (seed {source.seed})"
    if source.kind == "rdkit":
        return f"rdkit:{source.path}"
    # An absolute path says something about this machine and nothing to others.
    return Path(source.path).name if Path(source.path).is_absolute() else source.path


def _place(source: SourceParams) -> str:
    """Where its file lies in the output: under a plain name, whatever the address or path looks like."""
    raw = urllib.parse.unquote(urllib.parse.urlsplit(source.url).path) if source.kind == "url" else source.path
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(raw).name).lstrip(".")[-100:] or "data"
    return f"files/{source.name}/{'repeat_units.smi' if source.kind == 'repeat_units' else name}"


def _record(source: SourceParams, name: str, path: Path) -> dict:
    if path.stat().st_size == 0:
        raise SourceError(f"source '{source.name}': {PurePosixPath(name).name} is empty; expected molecules")
    return {
        "source": source.name,
        "file": name,
        "kind": source.kind,
        "format": source.format,
        "origin": _origin(source),
        "licence": source.licence,
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
        "role": source.role,
        "options": options_to_json(source.options()),
    }


def _check_readable(source: SourceParams, path: Path) -> None:
    """Find a wrong format or a missing column now, not in the next stage."""
    file = SourceFile(source.name, path, source.role, source.licence, "", source.options())
    source_properties(file)
    if next(iter(read_rows(file)), None) is None:
        raise SourceError(f"source '{source.name}': {path.name} holds no record; expected molecules")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(SourceError, DownloadError))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "molecule_sources", MoleculeSourcesConfig, overrides=arguments.overrides)
    target = arguments.data / "molecule_sources"
    records = fetch_sources(config, target, scratch=Path(".figment") / "downloads", reporter=reporter)
    size = sum(record["bytes"] for record in records)
    reporter.metadata(rows=len(records), files=len(records), bytes=size, sources=[record["source"] for record in records])
    unknown = [record["source"] for record in records if record["licence"] == "unknown"]
    reporter.check("licences_known", not unknown, severity="WARN", sources=unknown)
    reporter.log(f"molecule_sources: {len(records)} sources, {size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
