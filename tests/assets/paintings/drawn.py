"""Pictures drawn from a number, of which no two look the same; folders, zips and projects of them."""

import io
import zipfile
from pathlib import Path

import numpy
import pyarrow.parquet as pq
import yaml
from PIL import Image

from stages.reporting import Reporter


def image(number: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    """Soft blots of colour, as paintings and photographs have, of few and large shapes."""
    levels = numpy.random.default_rng(number).integers(0, 256, (5, 5, 3), numpy.uint8)
    return Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC)


def drawn(number: int, size: tuple[int, int] = (40, 40), kind: str = "PNG", **options) -> bytes:
    return saved(image(number, size), kind, **options)


def saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def write_params(**sections) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Told(Reporter):
    """Remembers what is reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict = {}
        self.checks: dict[str, bool] = {}

    def log(self, message: str) -> None:
        self.lines.append(message)

    def metadata(self, **values) -> None:
        self.values |= values

    def check(self, name: str, passed: bool, **_) -> None:
        self.checks[name] = passed
