"""Every parser of foreign bytes by a name: what it does with a file, and the errors of its own that it may say no with.

`open_parser` is for `stages.bounded`: an item is [name, the bytes as Latin-1 text], the answer "read", "refused", or "defect: …" for any other error.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Parser = tuple[Callable[[Path], Any], tuple[type[Exception], ...]]


def open_parser(_: None) -> Callable[[list[str]], str]:
    """One process for all of them: each brings its libraries when it is first asked."""
    known: dict[str, Parser] = {}

    def parse(item: list[str]) -> str:
        name, text = item
        kind, _, what = name.partition(" ")
        if name not in known:
            known[name] = globals()[f"_{kind}"](what)
        read, errors = known[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file")
            path.write_bytes(text.encode("latin-1"))
            try:
                read(path)
            except errors:
                return "refused"
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - what is looked for
                return f"defect: {type(error).__name__}: {error}"
        return "read"

    return parse


def _page(name: str) -> Parser:
    from assets.papers.items import Page
    from assets.papers.pages import PAGES

    return lambda path: PAGES[name](Page("https://letters.example/1", path.read_bytes(), "article", "letters")), ()


def _warc(_: str) -> Parser:
    from assets.papers.warc_store import WarcError, read_exchange, whole_records

    return lambda path: [read_exchange(path, record.place) for record in whole_records(path) if record.kind == "response"], (WarcError,)


def _encoding(name: str) -> Parser:
    from assets.papers.warc_store import WarcError, decode_body

    return lambda path: decode_body(path.read_bytes(), [("content-encoding", name)], max_bytes=1 << 20), (WarcError,)


def _package(_: str) -> Parser:
    from assets.papers.packages import PackageError, read_members

    return lambda path: read_members(path.read_bytes(), lambda name: True), (PackageError,)


def _picture(_: str) -> Parser:
    from formats.pictures import DecodeLimits, Undecodable, decode

    return lambda path: decode(path.read_bytes(), limits=DecodeLimits(max_pixels=4_000_000, min_side_px=1)), (Undecodable,)


def _png(_: str) -> Parser:
    from formats.png import PngError, decode_png

    return lambda path: decode_png(path.read_bytes()), (PngError,)


def _pages_of(kind: str) -> Parser:
    from assets.books.pages.config import BookPagesConfig
    from assets.books.pages.drawing import SetAside
    from assets.books.pages.worker import _open

    def draw(path: Path) -> None:
        with _open(path, kind, BookPagesConfig(page_px=64)) as pages:
            for number in range(1, min(len(pages), 3) + 1):
                pages.draw(number)

    return draw, (SetAside,)


def _molecules(kind: str) -> Parser:
    from assets.molecules.reading import SourceFile, read_rows
    from assets.molecules.rows import ReadOptions, Row, SourceError
    from assets.molecules.standardize import Rules, Standardizer

    standardizer = Standardizer(Rules(0, "strip", (), 1, 100, 1_000, ("mol_wt",)))

    def read(path: Path) -> None:
        rows = read_rows(SourceFile("letters", path, "molecules", "MIT", "", ReadOptions(format=kind)))
        standardizer.many((row.form, row.text) for row in rows if isinstance(row, Row))

    return read, (SourceError,)


def _mat(_: str) -> Parser:
    from assets.molecules.coordinates import open_qm7b
    from stages.bounded import RefusedError

    read = open_qm7b(None)
    return lambda path: read(str(path)), (RefusedError,)


def _hdf5(_: str) -> Parser:
    from orchestration.errors import CommandError
    from orchestration.imports.picture_hdf5 import import_here

    return lambda path: import_here(path, path.with_name("set")), (CommandError,)


def _snapshot(_: str) -> Parser:
    from training.stylegan3.nvidia_snapshots import SnapshotError, convert_snapshot

    return lambda path: convert_snapshot(path, path.with_name("out")), (SnapshotError,)


def _state_dict(_: str) -> Parser:
    from training.cyclegan.generator import CycleGANError
    from training.cyclegan.junyanz import read_state

    return read_state, (CycleGANError,)


def _checkpoint(_: str) -> Parser:
    import hashlib

    from training.loop.checkpoint import CheckpointError, read_checkpoint

    def read(path: Path) -> None:
        # Signed, as by somebody who knows how: the harm begins behind the checksum.
        path.write_bytes(path.read_bytes() + b"FIGMENT1" + hashlib.sha256(path.read_bytes()).digest())
        read_checkpoint(path)

    return read, (CheckpointError,)


def _weights(_: str) -> Parser:
    from tests.training.stylegan3.tiny import make_generator
    from training.stylegan3.generator import StyleGAN3Error, read_weights

    generator = make_generator()
    return lambda path: read_weights(path, generator), (StyleGAN3Error,)


def _params(_: str) -> Parser:
    from stages.params import ParamsError, read_yaml

    return read_yaml, (ParamsError,)


def _retractions(_: str) -> Parser:
    from stages.params import ParamsError
    from stages.retractions import RetractionsError, read_requests

    return read_requests, (RetractionsError, ParamsError)


def _parquet(_: str) -> Parser:
    from formats.molecule_tables import MoleculeTableError, read_molecules
    from formats.tables import DamagedTableError

    def read(path: Path) -> None:
        (path.parent / "molecules").mkdir()
        path.rename(path.parent / "molecules/molecules-00000.parquet")
        read_molecules(path.parent / "molecules", split="train")

    return read, (MoleculeTableError, DamagedTableError)


def _zip(_: str) -> Parser:
    from formats.stored_zip import DamagedZipError, StoredZip

    def read(path: Path) -> None:
        archive = StoredZip(path)
        for name in archive.names:
            archive.read(name)

    return read, (DamagedZipError,)


def _advisories(_: str) -> Parser:
    from orchestration.supply.vulnerabilities import DatabaseError, look_up

    return lambda path: look_up({"numpy": "2.0"}, path), (DatabaseError,)


def _journal(_: str) -> Parser:
    from training.tracking.journal import EVENTS_NAME, read_events

    def read(path: Path) -> None:
        path.rename(path.with_name(EVENTS_NAME))
        json.dumps(list(read_events(path.parent)))

    return read, ()
