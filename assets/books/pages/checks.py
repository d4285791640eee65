"""Check finished page images by reading them back: every page of every file is somewhere, and nothing of a withdrawn item is anywhere."""

from collections import Counter
from pathlib import Path

from formats.tables import read_table
from stages.reporting import Reporter


def report_page_checks(folder: Path, archive: Path, max_pages: int, reporter: Reporter) -> None:
    """Report `every_page_accounted` and `no_withdrawn_item` of the `book_pages` in `folder`, made from the `archive_items` in `archive`."""
    names = ["item_id", "file", "page"]
    index = read_table(folder / "index.parquet", names).to_pylist()
    rejected = read_table(folder / "rejected.parquet", names).to_pylist()
    files = read_table(folder / "files.parquet").to_pylist()
    withdrawn = {row["id"] for row in read_table(folder / "withdrawn.parquet").to_pylist()}
    texts = [row for path in sorted(folder.glob("texts-*.parquet")) for row in read_table(path, ["item_id"]).to_pylist()]

    # Each page up to the limit is drawn or set aside, once; a file of more, or of none that could be opened, says so in a row of its own.
    pages = Counter((row["item_id"], row["file"], row["page"]) for row in [*index, *rejected])
    wrong = [f"{item}/{file}/{page}" for (item, file, page), count in pages.items() if page is not None and count != 1]
    for file in files:
        place = (file["item_id"], file["file"])
        missing = [number for number in range(1, min(file["pages"], max_pages) + 1) if (*place, number) not in pages]
        wrong += [f"{'/'.join(place)}/{number}" for number in missing]
        if (file["pages"] > max_pages or file["pages"] < 1) and (*place, None) not in pages:
            wrong.append("/".join(place))
    harvested = read_table(archive / "files.parquet", ["identifier", "name"]).to_pylist()
    living = {(row["identifier"], row["name"]) for row in harvested if row["identifier"] not in withdrawn}
    wrong += ["/".join(place) for place in living ^ {(row["item_id"], row["file"]) for row in files}]
    counts = {"files": len(files), "pages": sum(row["pages"] for row in files), "drawn": len(index), "set_aside": len(rejected)}
    reporter.check("every_page_accounted", not wrong, **counts, unaccounted=len(wrong), first=min(wrong, default=""))

    still = sorted({row["item_id"] for row in [*index, *rejected, *files, *texts]} & withdrawn)
    reporter.check("no_withdrawn_item", not still, withdrawn=len(withdrawn), still_there=len(still), first=still[0] if still else "")
