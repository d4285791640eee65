"""Make small sources and build small datasets from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from assets.molecules.build import BuildFacts, DatasetConfig, build_dataset
from assets.molecules.reading import SourceFile
from assets.molecules.rows import ReadOptions
from stages.reporting import Reporter

SMALL = DatasetConfig(descriptors=["mol_wt", "tpsa"], rows_per_shard=8)


def source(path: Path, *, content: str | bytes | None = None, role: str = "molecules", licence: str = "MIT", **options: Any) -> SourceFile:
    """A source called like the file, which is written when `content` is given."""
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return SourceFile(path.name.partition(".")[0], path, role, licence, f"here:{path.name}", ReadOptions(**options))


def build(
    root: Path, sources: Sequence[SourceFile], *, name: str = "molecules", config: DatasetConfig = SMALL, workers: int = 1, scratch: str = "scratch"
) -> BuildFacts:
    """Build into root/<name>, with the memo in root/<scratch>."""
    return build_dataset(name, config, sources, root / name, scratch=root / scratch, workers=workers, reporter=Reporter())


def rows_of(folder: Path) -> list[dict]:
    """All rows of all shards of a dataset, in order."""
    return [row for shard in sorted(folder.glob(f"{folder.name}-*.parquet")) for row in pq.read_table(shard).to_pylist()]


def rejected_of(folder: Path) -> list[dict]:
    return pq.read_table(folder / "rejected.parquet").to_pylist()


def bytes_of(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
