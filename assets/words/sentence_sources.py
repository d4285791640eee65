"""Bring files of sentences together: by content, with licence and origin, from folders, files, addresses, and a grammar of the project's own.

    python -m assets.words.sentence_sources

Depends on its parameters only. What the files hold is read by `sentences`.
"""

import hashlib
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assets.downloads.guarded_http import DownloadError
from assets.downloads.named_sources import check_source, check_sources, download_sources, part_of
from assets.downloads.one_file import DownloadRules, Wanted
from formats.sentence_grammar import MOST_SENTENCES, imaginary_sentences
from formats.tables import columns, table_from_rows, write_table
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter

# file: name in the output, `files/` and the SHA-256, null where `reason` says why it was set aside; where: path inside the source.
SOURCES = columns(source=str, kind=str, format=str, licence=str, origin=str, where=str, file=str, sha256=str, bytes=int, reason=str)


class SourceError(Exception):
    """A source is not where it should be, is not what it was, or holds no text."""


@dataclass(frozen=True, kw_only=True)
class SourceParams:
    """One entry of `sentence_sources.sources`.

    kind:   local (`path` of a folder or file, from the project root), url (`url` of one file, and its `sha256`; null only until the first download
            has told it), or imaginary (`count` sentences that formats/sentence_grammar.py makes up, drawn by `seed`).
    format: lines (a sentence each), fortunes (texts between lines of %), wikitext or prose (paragraphs, which are cut into sentences).
    """

    name: str
    kind: Literal["local", "url", "imaginary"]
    licence: str
    format: Literal["lines", "fortunes", "wikitext", "prose"] = "lines"
    path: str = ""
    url: str = ""
    sha256: str | None = None
    count: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_source(self, {"local": ["path"], "url": ["url"], "imaginary": ["count"]})
        if not 0 <= self.count <= MOST_SENTENCES:
            raise ValueError(f"source '{self.name}': count must be from 1 to {MOST_SENTENCES:,}, found {self.count:,}")


@dataclass(frozen=True, kw_only=True)
class SentenceSourcesConfig:
    """The section `sentence_sources` of params.yaml. Larger files than max_file_mib are set aside; private addresses are one's own network."""

    sources: list[SourceParams]
    max_file_mib: int = 512
    allow_unknown_licence: bool = False
    allow_private_addresses: bool = False

    def __post_init__(self) -> None:
        check_sources(self.sources, allow_unknown_licence=self.allow_unknown_licence)


def gather_sentences(config: SentenceSourcesConfig, target: Path, *, figment: Path, reporter: Reporter) -> list[dict[str, Any]]:
    """Write the folder `target`: `files/` and `index.parquet`, whose rows it gives; what is no text, or too large, is there without a file.

    figment: the folder for downloads. Raises SourceError or DownloadError naming the source; the previous output is then untouched.
    """
    # What lies here already with the right checksum is not asked for again.
    far = [source for source in config.sources if source.kind == "url"]
    wanted = [Wanted(one.url, part_of(one, one.url, figment / "downloads"), {"sha256": one.sha256} if one.sha256 else {}) for one in far]
    rules = DownloadRules(max_bytes=config.max_file_mib * 2**20, allow_private_addresses=config.allow_private_addresses)
    download_sources(list(zip(far, wanted, strict=True)), rules, what="sentence_sources", reporter=reporter)
    places = {source.name: one.target for source, one in zip(far, wanted, strict=True)}
    index: list[dict[str, Any]] = []
    with OutputFolder(target) as output:
        for source in config.sources:
            rows = [_kept(source, where, path, config, output) for where, path in _files_of(source, places.get(source.name, Path(source.path)))]
            if not any("file" in row for row in rows):
                why = "; ".join(f"{row['where']}: {row['reason']}" for row in rows) or "it is empty"
                raise SourceError(f"source '{source.name}': no text in it: {why[:400]}; name another, or remove it")
            index += rows
        write_table(output.file("index.parquet"), table_from_rows(SOURCES, index))
    return index


def _kept(source: SourceParams, where: str, path: Path | None, config: SentenceSourcesConfig, output: OutputFolder) -> dict[str, Any]:
    """The row of one file, which is copied into the output; path: None where the project makes up what is in it."""
    # Of an absolute path only what says something elsewhere, too.
    origin = source.url or (Path(source.path).name if Path(source.path).is_absolute() else source.path)
    row = {"source": source.name, **{name: getattr(source, name) for name in ("kind", "format", "licence")}, "origin": origin, "where": where}
    if path is not None and path.stat().st_size > config.max_file_mib * 2**20:
        return {**row, "reason": f"over {config.max_file_mib} MiB (max_file_mib)"}
    body = path.read_bytes() if path is not None else "\n".join(imaginary_sentences(source.count, seed=source.seed)).encode()
    if b"\0" in body and not body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return {**row, "reason": "no text: it holds zero bytes"}
    sha256 = hashlib.sha256(body).hexdigest()
    if source.sha256 is not None and sha256 != source.sha256.lower():
        raise SourceError(f"source '{source.name}': {where} has sha256 {sha256}, expected {source.sha256.lower()}; see why it changed")
    output.file(f"files/{sha256}").write_bytes(body)
    return {**row, "file": f"files/{sha256}", "sha256": sha256, "bytes": len(body)}


def _files_of(source: SourceParams, path: Path) -> list[tuple[str, Path | None]]:
    """(path inside the source, its file, None where there is none); of a folder all that is neither hidden nor a link, in one order everywhere."""
    if source.kind == "imaginary":
        return [("", None)]
    if not path.exists():
        raise SourceError(f"source '{source.name}': {source.path}: no such folder or file; `path` is read from the project root")
    if path.is_file():
        return [(path.name, path)]
    inside = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return [(where, file) for where, file in inside if "/." not in f"/{where}"]


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(SourceError, DownloadError))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "sentence_sources", SentenceSourcesConfig, overrides=arguments.overrides)
    index = gather_sentences(config, arguments.data / "sentence_sources", figment=Path(".figment"), reporter=reporter)
    unknown = sum(row["licence"] == "unknown" for row in index)
    reporter.check("licences_known", unknown == 0, severity="WARN", files_of_unknown_licence=unknown)
    sizes, aside = [row["bytes"] for row in index if "file" in row], {row["where"]: row["reason"] for row in index if "file" not in row}
    reporter.metadata(files=len(sizes), bytes=sum(sizes), set_aside=aside)
    reporter.log(f"sentence_sources: {len(sizes):,} files, {sum(sizes) / 2**20:,.1f} MiB; set aside: {len(aside):,}")


if __name__ == "__main__":
    sys.exit(main())
