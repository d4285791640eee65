"""Check a finished dataset by reading it back: licences, leaks between splits, and whether its SMILES can be parsed."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.molecules.standardize import valid_fraction
from stages.reporting import Reporter

SAMPLED_PER_SHARD = 200


def report_checks(folder: Path, name: str, reporter: Reporter) -> None:
    """Report `licences_known`, `no_split_leak` and `valid_smiles` of the dataset in `folder`."""
    shards = sorted(folder.glob(f"{name}-[0-9]*.parquet"))
    unknown = sum(_unknown_licences(shard) for shard in shards)
    reporter.check("licences_known", unknown == 0, severity="WARN", rows_of_unknown_licence=unknown)
    duplicates, torn, leaking = split_leaks(shards)
    reporter.check(
        "no_split_leak",
        duplicates == torn == leaking == 0,
        molecules_listed_twice=duplicates,
        molecules_in_several_splits=torn,
        scaffolds_in_several_splits=leaking,
    )
    sample = [smiles for shard in shards for smiles in sample_smiles(shard)]
    fraction = valid_fraction(sample)
    reporter.check("valid_smiles", fraction == 1.0, sampled=len(sample), valid_fraction=fraction)


def split_leaks(shards: list[Path]) -> tuple[int, int, int]:
    """How many molecules are listed more than once at the same conditions, are in more than one random split, and scaffolds in more than one."""
    table = pa.concat_tables([pq.read_table(shard, columns=["id", "smiles", "scaffold", "split_random", "split_scaffold"]) for shard in shards])
    # A scaffold in two splits, or a molecule listed twice, would let a model be tested on what it was trained on.
    duplicates = len(table) - pc.count_distinct(table["id"]).as_py()
    with_rings = table.filter(pc.not_equal(table["scaffold"], ""))
    return duplicates, _in_several(table, "smiles", "split_random"), _in_several(with_rings, "scaffold", "split_scaffold")


def _in_several(table: pa.Table, column: str, split: str) -> int:
    pairs = table.select([column, split]).group_by([column, split]).aggregate([])
    return len(pairs) - pc.count_distinct(pairs[column]).as_py()


def sample_smiles(shard: Path) -> list[str]:
    """Up to SAMPLED_PER_SHARD SMILES, evenly spaced, so that the same shard gives the same sample."""
    smiles = pq.read_table(shard, columns=["smiles"])["smiles"]
    step = max(1, len(smiles) // SAMPLED_PER_SHARD)
    return smiles.take(list(range(0, len(smiles), step)))[:SAMPLED_PER_SHARD].to_pylist()


def _unknown_licences(shard: Path) -> int:
    return pc.sum(pc.equal(pq.read_table(shard, columns=["licence"])["licence"], "unknown")).as_py() or 0
