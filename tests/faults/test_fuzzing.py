"""Every parser of foreign bytes gets sound files that were broken in many ways, and what broke one before: it reads them, or says no in words of its
own, within bounds of time and memory. Those that only ever run in a process with bounds may end it, which costs that file.
"""

import gzip
import io
import itertools
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

for _name, _extra in (("scrapy", "scrape"), ("rdkit", "chem"), ("torch", "model"), ("isal", "images"), ("h5py", "images"), ("pypdfium2", "books")):
    pytest.importorskip(_name, reason=f"{_name} is not installed (extra: {_extra})")

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from rdkit import Chem

from formats.png import encode_png
from stages.bounded import BoundedReader, Bounds, Refused
from tests.assets.books.pages.pdfs import drawing, encoded, pdf, scans, text_page
from tests.assets.papers.packages_maker import tar_gz
from tests.assets.papers.pages.cases import CASES, FIXTURES
from tests.training.stylegan3 import snapshot_files
from tests.training.stylegan3.conftest import nvidia_names  # noqa: F401 - a fixture

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

INPUTS = 60
BOUNDS = Bounds(memory_mib=2_048, cpu_s=10)
# What is only ever read by a process with bounds, where the product reads it.
IN_A_PROCESS = ("pages_of", "molecules sdf", "molecules xyz", "mat", "hdf5", "page")
INTERESTING = [
    b"\xff" * 4,
    b"\0" * 8,
    b"\x7f\xff\xff\xff",
    b"999999999",
    b"-1",
    b"1e308",
    b"[" * 300,
    b"<a>" * 200,
    b"{" * 200,
    b"&x;",
    b"\n",
    b"\r",
    b'"',
    b"'",
]


def broken(sound: bytes, other: bytes, chance: random.Random) -> bytes:
    """`sound` after one to four accidents."""
    content = bytearray(sound)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(content) + 1), chance.choice([1, 2, 4, 16, 100])
        kind = chance.randrange(7)
        if kind == 0 and content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        elif kind == 1:
            content[place : place + length] = chance.randbytes(length)
        elif kind == 2:
            del content[place : place + length]
        elif kind == 3:
            content[place:place] = chance.choice(INTERESTING)
        elif kind == 4:
            content[place:place] = content[place : place + length] * chance.randint(1, 50)
        elif kind == 5:
            at = chance.randrange(len(other) + 1)
            content[place:place] = other[at : at + length]
        else:
            del content[chance.randrange(len(content) // 2, len(content) + 1) :]
    return bytes(content)


def png(*, width: int = 20, height: int = 20, interlaced: int = 0) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b"")]
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def pictures() -> list[bytes]:
    image = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=numpy.uint8))
    kinds = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]
    return [encode_png(numpy.asarray(image)), *(saved(lambda file, kind=kind: image.save(file, kind)) for kind in kinds)]


def mat(compressed: bool = True) -> bytes:
    from scipy.io import savemat

    return saved(lambda file: savemat(file, {"X": numpy.ones((3, 5, 5)), "T": numpy.ones((3, 14))}, do_compression=compressed))


def mat_bomb() -> bytes:
    """A small compressed element that inflates to half a gigabyte of nothing."""
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    body = zlib.compress(struct.pack("<II", 14, 1 << 29) + bytes(1 << 27), 9)
    return head + struct.pack("<II", 15, len(body)) + body


def hdf5() -> bytes:
    import h5py

    def write(file: io.BytesIO) -> None:
        with h5py.File(file, "w") as out:
            out.create_dataset("data_8", data=numpy.zeros((3, 8, 8, 3), numpy.float32), compression="gzip")

    return saved(write)


def snapshot(folder: Path) -> bytes:
    snapshot_files.write_snapshot(folder / "in.pkl")
    return (folder / "in.pkl").read_bytes()


def xyz(symbol: str, count: int) -> bytes:
    return "\n".join([str(count), "", *(f"{symbol} {1.9 * i:.4f} {0.9 * (i % 2):.4f} 0.0000" for i in range(count))]).encode() + b"\n"


def zipped(**contents: bytes) -> bytes:
    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)

    return saved(write)


ASPIRIN = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
ROW = {"smiles": ["CCO"], "scaffold": [""], "split_random": ["train"], "split_scaffold": ["train"]}
ADVISORY = {
    "id": "P-1",
    "affected": [{"package": {"ecosystem": "PyPI", "name": "numpy"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}],
}
WARC = b"".join(
    gzip.compress(
        b"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n" % (len(body), body)
    )
    for body in (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>one", b"HTTP/1.1 404 Not Found\r\n\r\n")
)

# Sound files by parser; each is the beginning of INPUTS broken ones.
SOUND: dict[str, Callable[[Path], list[bytes]]] = {
    **{
        f"page {name}": lambda _, cases=tuple(cases): [next((FIXTURES / case).glob("page.*")).read_bytes() for case in cases]
        for name, cases in itertools.groupby(CASES, lambda case: case.partition("/")[0])
    },
    "warc": lambda _: [WARC],
    "encoding gzip": lambda _: [gzip.compress(b"text " * 100) * 2],
    "encoding br": lambda _: [b"\x0b\x02\x80text\x03"],
    "encoding deflate": lambda _: [zlib.compress(b"text " * 100)],
    "package": lambda _: [tar_gz({"a/b.nxml": b"<article/>", "a/f.jpg": b"jpeg"}), zipped(**{"a/b.nxml": b"<article/>"})],
    "picture": lambda _: pictures(),
    "png": lambda _: pictures()[:2],
    "pages_of pdf": lambda _: [pdf(text_page("one"), text_page())],
    "pages_of jp2_zip": lambda _: [
        scans({"1.png": encoded(drawing(60, 80), "PNG"), "2.jpg": encoded(drawing(60, 80)), "3.jp2": encoded(drawing(60, 80), "JPEG2000")})
    ],
    "molecules csv": lambda _: [b"smiles,logp\nCCO,1.0\nc1ccccc1,2\n" * 3],
    "molecules smiles": lambda _: [b"CCO a\nC1CC1 b\n[Na+].[Cl-] c\nF/C=C/F d\nN[C@@H](C)C(=O)O e\n"],
    "molecules sdf": lambda _: [f"{block}> <a>\n1\n\n$$$$\n".encode() for block in (Chem.MolToMolBlock(ASPIRIN), Chem.MolToV3KMolBlock(ASPIRIN))],
    "molecules xyz": lambda _: [xyz("C", 4), b'3\n{"smiles": "O"}\nO 0 0 0\nH 0 0 1\nH 0 1 0\n'],
    "mat": lambda _: [mat(), mat(compressed=False)],
    "hdf5": lambda _: [hdf5()],
    "snapshot": lambda folder: [snapshot(folder)],
    "state_dict": lambda _: [saved(lambda file: torch.save({"model.1.weight": torch.ones(8, 3, 3, 3), "model.9.bias": torch.ones(8)}, file))],
    "checkpoint": lambda _: [saved(lambda file: torch.save({"state": {"w": torch.ones(9)}, "samples": 5, "name": "x"}, file))],
    "weights": lambda _: [
        struct.pack("<Q", 62) + json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode().ljust(62) + bytes(8)
    ],
    "params": lambda _: [b"polygpt:\n  width: 8\n  rates: [1.0, 2e-3]\n  note: 'x'\n  more: {a: &x 1, b: *x}\n"],
    "retractions": lambda _: [b"- id: 10.1021/x\n  reason: asked\n  day: 2026-01-02\n"],
    "parquet": lambda _: [saved(lambda file: pq.write_table(pa.table(ROW), file))],
    "zip": lambda _: [zipped(a=b"text" * 99, b=b"")],
    "advisories": lambda _: [zipped(**{"1.json": json.dumps(ADVISORY).encode()})],
    "journal": lambda _: [
        b'{"kind":"open","time_ms":1,"attempt":1,"resume_step":null}\n{"kind":"metrics","time_ms":2,"step":1,"values":{"a":1.0}}\n'
    ],
}

# What broke a parser, or could have: each is tried again, for ever.
FINDS: dict[str, Callable[[], list[bytes]]] = {
    "molecules xyz": lambda: [xyz("S", 20), xyz("S", 40)],  # bonds of sulfur: exponential time and memory, from 478 bytes
    "molecules smiles": lambda: [b"C" * 100_000, b"(" * 5_000, b"C1" * 400 + b" x", b"C" + b"(C" * 450 + b")" * 450],
    "mat": lambda: [mat_bomb()],
    "png": lambda: [png(width=13_000, height=13_000, interlaced=1), png(width=2**31 - 1, height=2**31 - 1)],
    "picture": lambda: [png(width=13_000, height=13_000, interlaced=1), png(width=2**31 - 1, height=1)],
    "params": lambda: [
        b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 9)) for c in range(97, 106)),
        b"[" * 5_000,
    ],
    "advisories": lambda: [zipped(**{"1.json": b"[" * 100_000}), zipped(**{"1.json": b"[]"})],
    "journal": lambda: [b"[" * 100_000 + b"\n"],
    "encoding gzip": lambda: [gzip.compress(bytes(64 << 20)), gzip.compress(b"") * 20_000],
    "state_dict": lambda: [b"\x80\x02" + b"(" * 10_000, b""],
}


@pytest.fixture(scope="module")
def reader():
    with BoundedReader("tests.faults.parsers:open_parser", None, BOUNDS) as reader:
        yield reader


@pytest.mark.parametrize("name", SOUND)
def test_whatever_is_broken_the_parser_reads_it_or_says_no(reader, tried, request, tmp_path, name):
    if name == "snapshot":
        request.getfixturevalue("nvidia_names")
    sound = SOUND[name](tmp_path)
    chance = random.Random(name)
    inputs = [*sound, *FINDS.get(name, list)()]
    inputs += [broken(chance.choice(sound), chance.choice(sound), chance) for _ in range(INPUTS)]
    answers = list(reader.read([[name, content.decode("latin-1")] for content in inputs]))
    is_contained = name.startswith(IN_A_PROCESS)
    bad = [
        (answer, content[:2_000])
        for answer, content in zip(answers, inputs, strict=True)
        if (isinstance(answer, Refused) and not is_contained) or (isinstance(answer, str) and answer.startswith("defect"))
    ]
    tried(f"fuzzing: {name.partition(' ')[0]}", len(inputs), got_through=len(bad))
    assert not bad, f"{len(bad)} of {len(inputs)}: {bad[0]}"
    assert name.startswith(("encoding br", "weights", "warc", "retractions", "journal")) or "read" in answers[: len(sound)], answers[: len(sound)]
