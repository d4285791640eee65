"""The bytes of a recorded artifact, as a folder, an archive, one table or a set of pictures. Deterministic: the same id gives the same bytes."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.bridge.cache import cached_members
from orchestration.bridge.identity import file_md5
from orchestration.bridge.project import Project
from orchestration.export import hub
from orchestration.export import images as export_images
from orchestration.export.cards import About
from orchestration.export.wacz import WaczError, write_wacz

_FOLDER_FORMATS = ("folder", "png", "webdataset", "huggingface")
# The oldest date that a zip member can have.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


class ExportError(Exception):
    """The artifact cannot be exported that way; nothing was written."""


def recorded_files(project: Project, name: str) -> dict[str, Path]:
    """Relative path -> a file with the bytes that dvc.lock records, for everything in the artifact's outputs.

    With one output the paths are relative to it; with several, each begins with the name of its output.
    Raises ExportError when bytes are neither in the workspace nor in the cache.
    """
    stage, entry = project.graph[name], project.lock().entries[name]
    found: dict[str, Path] = {}
    for out in stage.data_outs:
        top = project.root / out.path
        prefix = f"{top.name}/" if len(stage.data_outs) > 1 else ""
        for relative, path in _files_of(project, top, entry.outs[out.path]).items():
            found[f"{prefix}{relative}" if relative else top.name] = path
    return found


def export(files: Mapping[str, Path], destination: Path, format: str, about: About | None = None) -> None:
    """Write `files` to `destination`, which must not exist, in one of the formats of `figment export`. about: for the card that tables and models
    have in the format huggingface. Raises ExportError.
    """
    # Written beside and renamed: who finds DEST finds all of it. An empty folder made beforehand counts as not there.
    is_empty_folder = destination.is_dir() and not any(destination.iterdir())
    beside = export_images.companion(destination, format)
    for path in filter(None, (destination, beside)):
        if path.exists() and not (format in _FOLDER_FORMATS and is_empty_folder):
            raise ExportError(f"{path}: exists already; name another place, or remove it first")
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.part")
    temporary_beside = export_images.companion(temporary, format)
    try:
        _write(files, temporary, format, about)
        if destination.is_dir():
            destination.rmdir()
        if beside and temporary_beside and temporary_beside.exists():
            temporary_beside.rename(beside)
        temporary.rename(destination)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        for path in filter(None, (temporary, temporary_beside)):
            path.unlink(missing_ok=True)


def _write(files: Mapping[str, Path], target: Path, format: str, about: About | None) -> None:
    writers: dict[str, Callable[[Mapping[str, Path], Path], None]] = {
        "folder": _write_folder,
        "zip": _write_zip,
        "csv": _write_csv,
        "smi": _write_smi,
        "parquet": _write_parquet,
        "wacz": write_wacz,
    }
    if format in writers:
        try:
            return writers[format](files, target)
        except WaczError as error:
            raise ExportError(str(error)) from error
    if format == "huggingface" and not export_images.is_image_set(files):
        return _write_huggingface(files, target, about or About(target.name, "unknown"))
    try:
        export_images.write_images(files, target, format)
    except export_images.ImageExportError as error:
        raise ExportError(str(error)) from error


def _files_of(project: Project, top: Path, id: str) -> dict[str, Path]:
    # The workspace where it has the recorded bytes; else DVC's cache, of which every object is read and compared, since DVC itself does not.
    content = project.store.content(top)
    if content is not None and content.id == id:
        return {relative: top / relative for relative in project.store.md5_by_relpath(top)} if top.is_dir() else {"": top}
    members = cached_members(project.cache_dir, id)
    if members is None:
        raise ExportError(f"{top.name}: neither the workspace nor the DVC cache has {id}; `dvc pull`, or `figment doctor` to see what is wrong")
    for relative, path in members.items():
        md5 = path.parent.name + path.name
        if not path.is_file() or file_md5(path) != md5:
            raise ExportError(f"{top.name}/{relative}: its cache object {md5} is absent or damaged; `figment doctor` says more")
    return members


def _write_folder(files: Mapping[str, Path], target: Path) -> None:
    for relative, source in files.items():
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        # The cache's files are read-only; a copy belongs to the user.
        shutil.copyfile(source, place)


def _write_huggingface(files: Mapping[str, Path], target: Path, about: About) -> None:
    import pyarrow.parquet as pq

    if hub.is_model(files):
        hub.write_model(files, target, about)
    else:
        hub.write_table(pq.read_schema(_shards(files)[0]), _batches(files), target, about)


def _write_zip(files: Mapping[str, Path], target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for relative in sorted(files):
            member = zipfile.ZipInfo(relative, _ZIP_DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            with files[relative].open("rb") as source, archive.open(member, "w", force_zip64=True) as place:
                shutil.copyfileobj(source, place)


def _shards(files: Mapping[str, Path]) -> list[Path]:
    names = [relative for relative in sorted(files) if relative.endswith(".parquet")]
    numbered = [relative for relative in names if Path(relative).stem.rpartition("-")[2].isdigit()]
    shards = numbered or names
    if not shards:
        raise ExportError(f"no table in this artifact (its files: {', '.join(sorted(files)[:5])}); export it as folder or zip")
    return [files[relative] for relative in shards]


def _batches(files: Mapping[str, Path]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    shards = _shards(files)
    schema = pq.read_schema(shards[0])
    for shard in shards:
        # One file object per shard: what lies in the cache has no ending by which pyarrow would know it.
        with pq.ParquetFile(shard) as file:
            if not file.schema_arrow.equals(schema):
                raise ExportError("the tables of this artifact have different columns; export it as folder or zip")
            yield from file.iter_batches(batch_size=65_536)


def _write_parquet(files: Mapping[str, Path], target: Path) -> None:
    import pyarrow.parquet as pq

    schema = pq.read_schema(_shards(files)[0])
    with pq.ParquetWriter(target, schema, compression="zstd", store_schema=False) as writer:
        for batch in _batches(files):
            writer.write_batch(batch)


def _write_csv(files: Mapping[str, Path], target: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv as pc

    writer = None
    try:
        for batch in _batches(files):
            flat = pa.table({field.name: _flat(batch.column(field.name), field.type) for field in batch.schema})
            writer = writer or pc.CSVWriter(target, flat.schema)
            writer.write(flat)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        target.write_text("", encoding="utf-8")


def _flat(column: Any, type: Any) -> Any:
    """A column as CSV can hold it: lists and structs as JSON."""
    import pyarrow as pa

    if not pa.types.is_nested(type):
        return column
    return pa.array([None if value is None else json.dumps(value, ensure_ascii=False) for value in column.to_pylist()], pa.string())


def _write_smi(files: Mapping[str, Path], target: Path) -> None:
    with target.open("w", encoding="utf-8") as stream:
        for batch in _batches(files):
            names = batch.schema.names
            if "smiles" not in names:
                raise ExportError(f"no column `smiles` in this table (its columns: {', '.join(names)}); export it as csv")
            labels = batch.column("id" if "id" in names else "index" if "index" in names else names[0]).to_pylist()
            for smiles, label in zip(batch.column("smiles").to_pylist(), labels, strict=True):
                # A row without a molecule (a sample that says nothing) has no line in this format.
                if smiles:
                    stream.write(f"{smiles} {label}\n")
