"""The pictures of an artifact in the forms other people's programs read; every form carries the dataset card. The same id gives the same bytes.

An artifact is a set of pictures when it has `shard-*.zip` files, each a StyleGAN dataset zip. Facts about the pictures come from its index.parquet,
where there is one.
"""

import io
import itertools
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_SHARD = re.compile(r"(?:^|/)shard-(\d+)\.zip$")
_PICTURE = re.compile(r"\.(png|jpe?g|webp|bmp)$", re.IGNORECASE)
_LABELS = "dataset.json"
_CARD = "README.md"
_INDEX = "index.parquet"
# What the index repeats of the zips themselves, and the label, which goes where each form keeps labels.
_NOT_FACTS = {"shard", "member", "class", "label"}
_PICTURES_AT_ONCE = 64


class ImageExportError(Exception):
    """The pictures cannot be given in that form; nothing was written."""


def is_image_set(files: Mapping[str, Path]) -> bool:
    """Whether these files of an artifact are a set of pictures."""
    return any(_SHARD.search(relative) for relative in files)


def write_images(files: Mapping[str, Path], target: Path, format: str) -> None:
    """Write the pictures in `files` (relative path -> file) to the new file or folder `target`. Raises ImageExportError."""
    from formats.image_shards import ImageSetError
    from formats.stored_zip import DamagedZipError

    if not is_image_set(files):
        found = ", ".join(sorted(files)[:5])
        raise ImageExportError(f"no pictures in this artifact (its files: {found}); export it as folder or zip")
    try:
        FORMATS[format](_ImageSet(files), target)
    except (DamagedZipError, ImageSetError) as error:
        raise ImageExportError(f"{error}; `figment doctor` says more") from error


@dataclass(frozen=True)
class _Picture:
    """label: the class or vector of its dataset.json; None without. facts: its row of the index."""

    name: str
    content: bytes
    label: Any
    facts: Mapping[str, Any]

    @property
    def stem(self) -> str:
        return self.name.rpartition("/")[2].rpartition(".")[0]


class _ImageSet:
    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self.shards = sorted((relative for relative in files if _SHARD.search(relative)), key=lambda relative: (relative.count("/"), relative))

    def pictures(self, shard: str) -> Iterator[_Picture]:
        """The pictures of one shard, in the order of their names."""
        from formats.stored_zip import StoredZip

        archive = StoredZip(self._files[shard])
        labels = dict(json.loads(archive.read(_LABELS))["labels"] or []) if _LABELS in archive else {}
        for name in sorted(name for name in archive.names if _PICTURE.search(name)):
            label = labels.get(name) if self.has_labels else None
            yield _Picture(name, archive.read(name), label, self._facts.get((shard.rpartition("/")[2], name), {}))

    @cached_property
    def has_labels(self) -> bool:
        """Whether every shard has them; a set in which some are missing has none."""
        from formats.stored_zip import StoredZip

        archives = [StoredZip(self._files[shard]) for shard in self.shards]
        return all(_LABELS in archive and json.loads(archive.read(_LABELS))["labels"] is not None for archive in archives)

    @cached_property
    def class_names(self) -> list[str]:
        """By class number, from the index; empty where labels are none or vectors."""
        rows = self._rows if self.has_labels and "class" in self.columns else []
        names = {row["class"]: row.get("label") for row in rows if row["class"] is not None}
        return [str(names.get(number) or f"class {number}") for number in range(max(names, default=-1) + 1)]

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Name -> Arrow type of the index."""
        import pyarrow.parquet as pq

        if _INDEX not in self._files:
            return {}
        with pq.ParquetFile(self._files[_INDEX]) as file:
            return {field.name: field.type for field in file.schema_arrow}

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        if not {"shard", "member"} <= self.columns.keys():
            return []
        with pq.ParquetFile(self._files[_INDEX]) as file:
            return file.read().to_pylist()

    @cached_property
    def _facts(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["shard"], row["member"]): {key: value for key, value in row.items() if key not in _NOT_FACTS} for row in self._rows}

    def card(self, files_words: str, *, header: str = "") -> str | None:
        """The artifact's card, with what it says of its files replaced, and lines added to its header."""
        if _CARD not in self._files:
            return None
        # Preview pictures and the list of files belong to the artifact's own form; everything else of the card holds for any.
        text = self._files[_CARD].read_text(encoding="utf-8")
        text = re.sub(r"^!\[[^\]]*\]\([\w.]+\)\n\n?", "", text, flags=re.MULTILINE)
        text = re.sub(r"(?<=^## Files\n\n).*?(?=^## )", lambda _: f"{files_words}\n\n", text, flags=re.MULTILINE | re.DOTALL)
        if header and text.startswith("---\n"):
            text = text.replace("\n---\n", f"\n{header}---\n", 1)
        return text

    def copy_index(self, target: Path) -> None:
        if _INDEX in self._files:
            shutil.copyfile(self._files[_INDEX], target / _INDEX)


def _write_stylegan(images: _ImageSet, target: Path) -> None:
    """One StyleGAN dataset zip; pictures keep their numbers, so gaps stay gaps, as dataset tools leave them."""
    from formats.image_shards import labels_json
    from formats.stored_zip import StoredZipWriter

    labels = []
    with StoredZipWriter(target) as archive:
        for shard in images.shards:
            for picture in images.pictures(shard):
                archive.add(picture.name, picture.content)
                labels.append((picture.name, picture.label))
        card = images.card("One StyleGAN dataset zip: pictures `NNNNN/imgNNNNNNNN.png`, this card, and `dataset.json` with the labels, or null.")
        if card is not None:
            archive.add(_CARD, card.encode())
        archive.add(_LABELS, labels_json(labels))


def _write_png(images: _ImageSet, target: Path) -> None:
    """A folder of PNGs, with dataset.json: what NVIDIA's trainers take in place of a zip."""
    from formats.image_shards import labels_json

    target.mkdir()
    labels = []
    for shard in images.shards:
        for picture in images.pictures(shard):
            # Names of members are data: one from elsewhere could lead out of the folder.
            place = target / picture.name
            if not place.resolve().is_relative_to(target.resolve()):
                raise ImageExportError(f"{shard}: the member {picture.name!r} would lie outside the folder")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(picture.content)
            labels.append((picture.name, picture.label))
    (target / _LABELS).write_bytes(labels_json(labels))
    words = "Pictures `NNNNN/imgNNNNNNNN.png`, `dataset.json` with the labels, or null, and `index.parquet` with what is known of each."
    _write_card(images.card(words), target)
    images.copy_index(target)


def _write_webdataset(images: _ImageSet, target: Path) -> None:
    """A folder of tar files for WebDataset: for each picture `.png`, `.json` with what is known of it, and `.cls` with its class where it has one."""
    target.mkdir()
    for shard in images.shards:
        name = shard.rpartition("/")[2].replace(".zip", ".tar")
        with tarfile.open(target / name, "w", format=tarfile.USTAR_FORMAT) as archive:
            for picture in images.pictures(shard):
                # USTAR without names, times or owners of this machine, parts in a fixed order: equal pictures make equal archives.
                facts = {**picture.facts, **({} if picture.label is None else {"label": picture.label})}
                parts = {"png": picture.content, "json": json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()}
                if isinstance(picture.label, int):
                    parts["cls"] = str(picture.label).encode()
                for ending, content in parts.items():
                    member = tarfile.TarInfo(f"{picture.stem}.{ending}")
                    member.size, member.mode = len(content), 0o644
                    archive.addfile(member, io.BytesIO(content))
    words = (
        "`shard-*.tar` for WebDataset: each picture as `.png`, what is known of it as `.json`, and its class as `.cls` where there are labels: "
        f"`{json.dumps(images.class_names, ensure_ascii=False)}`."
        if images.class_names
        else "`shard-*.tar` for WebDataset: each picture as `.png`, and what is known of it as `.json`."
    )
    _write_card(images.card(words), target)


def _write_hdf5(images: _ImageSet, target: Path) -> None:
    """Progressive GAN's HDF5: `data256x256` … `data1x1`, uint8 [N, C, H, W], each the 2 x 2 mean of the one before; labels in a file beside it."""
    import h5py
    import numpy

    labels: list[Any] = []
    with h5py.File(target, "w", libver=("earliest", "v110")) as file:
        for block, pixels in _blocks(images):
            for side, level in _levels(pixels, 1):
                # About 128 KiB a chunk, as the format's own tool makes them.
                chunk = max(1, (128 << 10) // (pixels.shape[1] * side * side))
                _append(file, f"data{side}x{side}", numpy.rint(level).clip(0, 255).astype(numpy.uint8), chunk, compression="gzip", compression_opts=4)
            labels += [picture.label for picture in block]
        card = images.card("Progressive GAN's HDF5: `data{r}x{r}` for each resolution, uint8 [N, C, H, W]; labels in `*-labels.npy`.")
        if card is not None:
            file.attrs["card"] = card
    if images.has_labels:
        numpy.save(_labels_beside(target), _label_rows(labels))


def _write_deepzine(images: _ImageSet, target: Path) -> None:
    """DeepZine's HDF5: `data_4`, `data_8` … to the side of the pictures, float32 [N, H, W, 3] in [-1, 1], and their names in `imagenames`.

    Grey pictures become RGB, which its networks expect. PyTables reads the file; it is compressed with what every HDF5 library knows.
    """
    import h5py
    import numpy

    with h5py.File(target, "w", libver=("earliest", "v110")) as file:
        for block, pixels in _blocks(images):
            _append(file, "imagenames", numpy.array([[picture.name.encode()[:256]] for picture in block], "S256"), 256)
            for side, level in _levels(numpy.broadcast_to(pixels, (len(pixels), 3, *pixels.shape[2:])), 4):
                rows = level.transpose(0, 2, 3, 1) / 127.5 - 1
                _append(file, f"data_{side}", rows, 1, compression="gzip", compression_opts=4, shuffle=True)
        card = images.card("DeepZine's HDF5: `data_{r}` for each resolution, float32 [N, H, W, 3] in [-1, 1]; names in `imagenames`.")
        if card is not None:
            file.attrs["card"] = card


def _append(file: Any, name: str, rows: Any, chunk: int, **options: Any) -> None:
    """Add `rows` to the dataset `name`, which is made where it is not there yet. chunk: rows stored together."""
    shape = rows.shape[1:]
    if name not in file:
        file.create_dataset(name, (0, *shape), rows.dtype, maxshape=(None, *shape), chunks=(chunk, *shape), track_times=False, **options)
    count = len(file[name])
    file[name].resize(count + len(rows), axis=0)
    file[name][count:] = rows


def _levels(pixels: Any, least: int) -> Iterator[tuple[int, Any]]:
    """(side, float32 [N, C, side, side]) down to `least`: each the mean of every 2 x 2 of the one above, unrounded, so that errors do not add up."""
    import numpy

    level, side = pixels.astype(numpy.float32), pixels.shape[-1]
    while side >= least:
        yield side, level
        side //= 2
        if side:
            level = level.reshape(*level.shape[:2], side, 2, side, 2).mean(axis=(3, 5))


def _blocks(images: _ImageSet) -> Iterator[tuple[list[_Picture], Any]]:
    """All pictures, some at a time: a set of a hundred thousand is never in memory as a whole. With them uint8 [N, C, H, W] of one square shape."""
    import numpy

    from formats.png import decode_png

    shape: tuple[int, ...] = ()
    for shard in images.shards:
        pictures = images.pictures(shard)
        while block := list(itertools.islice(pictures, _PICTURES_AT_ONCE)):
            pixels = [decode_png(picture.content).transpose(2, 0, 1) for picture in block]
            shape = shape or pixels[0].shape
            for picture, found in zip(block, pixels, strict=True):
                if found.shape != shape or shape[1] != shape[2]:
                    raise ImageExportError(
                        f"{shard}: {picture.name} is not {shape[1]} x {shape[1]} px with {shape[0]} channels as the first picture is"
                    )
            yield block, numpy.stack(pixels)


def _label_rows(labels: list[Any]) -> Any:
    import numpy

    if all(isinstance(label, int) for label in labels):
        return numpy.eye(max(labels) + 1, dtype=numpy.float32)[labels]
    return numpy.array(labels, numpy.float32)


def _labels_beside(target: Path) -> Path:
    return target.with_name(f"{target.stem}-labels.npy")


def _write_huggingface(images: _ImageSet, target: Path) -> None:
    """A dataset folder for Hugging Face `datasets`: Parquet with the pictures inside, their features declared, and the card."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # `datasets` reads its features out of the schema's metadata; without them a picture would be a struct of bytes.
    facts = {name: kind for name, kind in images.columns.items() if name not in _NOT_FACTS}
    fields = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), *(pa.field(name, kind) for name, kind in facts.items())]
    features: dict[str, Any] = {"image": {"_type": "Image"}, **{name: _feature(kind) for name, kind in facts.items()}}
    if images.has_labels:
        is_class = bool(images.class_names)
        fields.append(pa.field("label", pa.int64() if is_class else pa.list_(pa.float32())))
        features["label"] = {"names": images.class_names, "_type": "ClassLabel"} if is_class else _feature(pa.list_(pa.float32()))
    schema = pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    (target / "data").mkdir(parents=True)
    count = 0
    for number, shard in enumerate(images.shards):
        path = target / "data" / f"train-{number:05d}-of-{len(images.shards):05d}.parquet"
        with pq.ParquetWriter(path, schema, compression="none", store_schema=True) as writer:
            block: list[dict[str, Any]] = []
            for picture in images.pictures(shard):
                label = {"label": picture.label} if images.has_labels else {}
                block.append({"image": {"bytes": picture.content, "path": f"{picture.stem}.png"}, **picture.facts, **label})
                if len(block) == _PICTURES_AT_ONCE:
                    writer.write_table(pa.Table.from_pylist(block, schema))
                    count, block = count + len(block), []
            if block:
                writer.write_table(pa.Table.from_pylist(block, schema))
                count += len(block)
    header = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n"
    words = f"`data/train-*.parquet`: {count:,} rows with the picture (PNG bytes) and what is known of it, for `datasets.load_dataset`."
    _write_card(images.card(words, header=header), target)


def _feature(kind: Any) -> dict[str, Any]:
    import pyarrow as pa

    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def _write_card(card: str | None, target: Path) -> None:
    if card is not None:
        (target / _CARD).write_text(card, encoding="utf-8")


FORMATS: dict[str, Callable[[_ImageSet, Path], None]] = {
    "stylegan": _write_stylegan,
    "png": _write_png,
    "webdataset": _write_webdataset,
    "hdf5": _write_hdf5,
    "hdf5-deepzine": _write_deepzine,
    "huggingface": _write_huggingface,
}


def companion(destination: Path, format: str) -> Path | None:
    """The second file that a form may write beside its first; it exists when the pictures have labels."""
    return _labels_beside(destination) if format == "hdf5" else None
