"""Pictures that too many papers of one source show: a logo, a cover or a placeholder that no rule knew. They are nobody's, and are set aside."""

from collections import defaultdict
from collections.abc import Iterable

from assets.papers.reading import rejected_row

# Two parts of one paper, or a paper and its correction, may show the same; translations count as their original.
MOST_PAPERS = 3
REASON = "picture_shared"


def set_aside_shared(rows: Iterable[dict]) -> list[dict]:
    """Take pictures that more than MOST_PAPERS papers of a source show away from these rows of `papers`; a record for each row that lost one."""
    rows = list(rows)
    originals: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row["image_sha256"]:
            originals[row["source"], row["image_sha256"]].add(row["translation_of"] or row["id"])
    records = []
    for row in rows:
        sharing = len(originals.get((row["source"], row["image_sha256"]), ()))
        if sharing > MOST_PAPERS:
            words = f"the same picture is shown by {sharing} papers of this source, more than {MOST_PAPERS}: it belongs to none of them"
            records.append(rejected_row(row["source"], row["image_url"] or row["url"], row["first_crawl"], REASON, words, row["id"]))
            row["image_sha256"] = None
    return records
