"""Tell of gathered originals: counts, what was set aside, some pictures, and the checks that every such folder must pass."""

import hashlib
import zipfile
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from assets.images.columns import UNKNOWN_LICENCE
from assets.images.contact_sheet import sheet_of_originals
from assets.images.gather import GatherFacts
from formats.tables import read_table
from stages.markdown import counted, png_data_uri
from stages.reporting import Reporter

_SAMPLED_PER_SHARD = 16


def report_gathered(facts: GatherFacts, folder: Path, reporter: Reporter) -> None:
    """Report what `gather` wrote into `folder`, and the checks `licences_known` and `members_intact`."""
    counts = {name: value for name, value in asdict(facts).items() if isinstance(value, int)}
    reporter.metadata(
        rows=counts.pop("images"),
        **counts,
        by_format=dict(sorted(facts.formats.items())),
        by_decoding=dict(sorted(facts.decoded_as.items())),
        rejected_by_reason=dict(sorted(facts.rejected.items())),
    )
    aside = ", ".join(f"{count:,} {reason}" for reason, count in sorted(facts.rejected.items())) or "none"
    reporter.log(
        f"{folder.name}: {facts.images:,} pictures in {facts.shards:,} shards ({facts.shards_kept:,} taken over); "
        f"{facts.new:,} new, {facts.left:,} left; set aside: {aside}; {facts.looked_at:,} decoded, {facts.known_before:,} known from before"
    )
    reporter.markdown("decoded_as", counted("decoded as", "pictures", facts.decoded_as))
    reporter.markdown("set_aside", counted("reason", "pictures", facts.rejected) if facts.rejected else "Nothing was set aside.")
    if facts.images:
        reporter.markdown("pictures", f"![some of the pictures]({png_data_uri(sheet_of_originals(folder))})")
    report_gathered_checks(folder, reporter)


def report_gathered_checks(folder: Path, reporter: Reporter) -> None:
    """Report `licences_known` and `members_intact` by reading the folder back."""
    index = read_table(folder / "index.parquet", ["sha256", "licence", "shard", "member"]).to_pylist()
    unknown = sum(row["licence"] == UNKNOWN_LICENCE for row in index)
    reporter.check("licences_known", unknown == 0, severity="WARN", pictures_of_unknown_licence=unknown)
    damaged = [name for shard, rows in groupby(index, key=lambda row: row["shard"]) for name in _damaged_members(folder / shard, list(rows))]
    reporter.check("members_intact", not damaged, damaged=len(damaged), first=damaged[0] if damaged else "")


def _damaged_members(shard: Path, rows: list[dict]) -> list[str]:
    """Members that are missing, not in the index, or (of up to _SAMPLED_PER_SHARD, evenly spaced) not of the content they are named for."""
    try:
        with zipfile.ZipFile(shard) as archive:
            names = {row["member"] for row in rows} ^ set(archive.namelist())
            sample = [row for row in rows[:: max(1, len(rows) // _SAMPLED_PER_SHARD)][:_SAMPLED_PER_SHARD] if row["member"] not in names]
            wrong = [row["member"] for row in sample if hashlib.sha256(archive.read(row["member"])).hexdigest() != row["sha256"]]
    except (OSError, zipfile.BadZipFile) as error:
        return [f"{shard.name}: {error}"]
    return [f"{shard.name}: {name}" for name in sorted(names) + wrong]
