"""Check the finished `papers` by reading them back: licences, ids, withdrawals, pictures, and that the rows did not collapse."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.images.columns import UNKNOWN_LICENCE
from assets.papers.page_rules import STATED_OTHERWISE
from assets.papers.raw_pages import GONE, REDIRECTS, RawPages
from assets.papers.shared_pictures import REASON
from assets.papers.shares import FACTS, HISTORY, NightShares, counts_of, falls, remember, shares_plot, shares_table
from formats.tables import read_table
from stages.reporting import Reporter


def report_checks(folder: Path, raw: RawPages, reporter: Reporter, *, rows_before: int | None, collapse_fraction: float) -> None:
    """Report the checks of the stage `papers` on what lies in `folder`.

    rows_before: of the previous version; None when there was none.
    """
    # Few columns of each table, as columns: a night that changed nothing is to read little.
    names = ["id", "serial", "licence", "image_sha256"]
    papers = pa.concat_tables([read_table(shard, names) for shard in sorted(folder.glob("papers-*.parquet"))])
    images = read_table(folder / "images.parquet", ["sha256", "is_live", "paper_ids"])
    withdrawn = read_table(folder / "withdrawn.parquet").to_pylist()
    unknown = pc.sum(pc.equal(papers["licence"], UNKNOWN_LICENCE)).as_py() or 0
    reporter.check("licences_known", unknown == 0, severity="WARN", rows_of_unknown_licence=unknown)

    # A serial given twice would put two rows into one place of a shard.
    ids = set(papers["id"].to_pylist())
    counts = [pc.value_counts(papers[name]) for name in ("id", "serial")]
    twice = [str(value) for found in counts for value in found.field("values").filter(pc.greater(found.field("counts"), 1)).to_pylist()]
    reporter.check("ids_unique", not twice, listed_twice=len(twice), first=twice[0] if twice else "")

    # Withdrawal has to reach both tables: that of papers, and what pictures say of whom they belong to.
    gone = {row["id"] for row in withdrawn}
    still = sorted(gone & (ids | set(pc.list_flatten(images["paper_ids"]).to_pylist())))
    reporter.check("no_withdrawn_paper", not still, withdrawn=len(gone), still_there=len(still), first=still[0] if still else "")

    # Every picture of a paper can be read from the raw store, and `images` calls exactly those live.
    index = raw.index()
    is_answer = pc.invert(pc.is_in(index["status"], pa.array(GONE | REDIRECTS, pa.int64())))
    stored = set(index["content_sha256"].filter(pc.and_(pc.equal(index["kind"], "image"), is_answer)).to_pylist())
    shown = {sha256 for sha256 in papers["image_sha256"].to_pylist() if sha256}
    live = set(images["sha256"].filter(images["is_live"]).to_pylist())
    missing = sorted((shown - stored) | (shown ^ live))
    reporter.check("pictures_stored", not missing, pictures=len(shown), missing=len(missing), first=missing[0] if missing else "")

    # What a person should look at: a picture that many papers share, and a list in which not all was found that it says it has.
    rejected = read_table(folder / "rejected.parquet", ["where", "reason", "words"]).to_pylist()
    shared = [row["where"] for row in rejected if row["reason"] == REASON]
    reporter.check("pictures_not_shared", not shared, severity="WARN", papers=len(shared), first=shared[0] if shared else "")
    short = [row["where"] for row in rejected if row["words"].startswith(STATED_OTHERWISE)]
    reporter.check("lists_complete", not short, severity="WARN", lists=len(short), first=short[0] if short else "")

    # Far fewer rows than last time mean a site whose markup changed, rather than a journal that withdrew half of itself.
    least = 0 if rows_before is None else collapse_fraction * rows_before
    reporter.check("rows_did_not_collapse", len(papers) >= least, severity="WARN", rows=len(papers), rows_before=rows_before or 0)


def report_shares(
    folder: Path, raw: RawPages, sources: Mapping[str, Counter], reporter: Reporter, *, share_fall: float, history: Path = HISTORY
) -> None:
    """Report `shares_held` of the `papers` in `folder`: of each source, the shares that have title, abstract and picture, against the crawl before.

    sources: counts of the build, by source. history: the file of the nights, which gets a line.
    """
    index = raw.index()
    crawl = pc.max(index["crawl"]).as_py() or 0
    day = pc.max(index["day"].filter(pc.equal(index["crawl"], crawl))).as_py() or date.min
    rejected = read_table(folder / "rejected.parquet", ["source", "reason"]).to_pylist()
    titleless = Counter(row["source"] for row in rejected if row["reason"] == "no_title")
    fresh: dict[str, Counter] = defaultdict(Counter)
    for shard in sorted(folder.glob("papers-*.parquet")) if crawl else ():
        is_fresh = pc.equal(read_table(shard, ["first_crawl"])["first_crawl"], crawl)
        rows = read_table(shard, ["source", "abstract", "image_sha256"]).filter(is_fresh).to_pylist() if pc.any(is_fresh).as_py() else []
        for row in rows:
            fresh[row["source"]].update(papers=1, abstract=bool(row["abstract"]), image=bool(row["image_sha256"]))
    nights = remember(history, NightShares(str(folder), crawl, day.isoformat(), counts_of(sources, titleless), counts_of(fresh, {})))
    fallen = falls(nights, most=share_fall)
    reporter.check("shares_held", not fallen, severity="WARN", fallen=len(fallen), which="; ".join(fallen[:5]))
    shares = {name: {fact: nights[-1].share(name, fact) for fact in FACTS} for name in nights[-1].sources}
    known = {name: {fact: round(share, 4) for fact, share in of.items() if share is not None} for name, of in shares.items()}
    reporter.metadata(shares_by_source=known)
    reporter.markdown("shares", shares_table(nights))
    reporter.markdown("shares over time", shares_plot(nights))


def report_living_pictures(folder: Path, papers: Path, reporter: Reporter) -> None:
    """Report `no_withdrawn_picture` of the `toc_images` in `folder`, made from the `papers` in `papers`."""
    pictures = set(read_table(folder / "index.parquet", ["sha256"])["sha256"].to_pylist())
    # No picture may outlive the last paper that shows it.
    live = {row["sha256"] for row in read_table(papers / "images.parquet", ["sha256", "is_live"]).to_pylist() if row["is_live"]}
    dead = sorted(pictures - live)
    reporter.check("no_withdrawn_picture", not dead, pictures=len(pictures), withdrawn_ones=len(dead), first=dead[0] if dead else "")
