"""What a build of `papers` is told, and what it tells."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PapersConfig:
    """The section `papers` of params.yaml.

    rows_per_shard:           serials of a Parquet shard.
    max_title_chars, max_abstract_chars: a paper with a longer one is set aside: it is no title or abstract.
    near_duplicate_similarity: Jaccard similarity of word shingles from which a paper repeats another.
    near_duplicate_min_words: title and abstract together; shorter ones are never called duplicates.
    collapse_fraction:        a version with fewer rows than this fraction of the previous one fails the check rows_did_not_collapse.
    share_fall:               a source whose share of papers with title, abstract or picture fell by more since the last crawl fails shares_held.
    """

    rows_per_shard: int = 5_000
    max_title_chars: int = 1_000
    max_abstract_chars: int = 30_000
    near_duplicate_similarity: float = 0.8
    near_duplicate_min_words: int = 12
    collapse_fraction: float = 0.5
    share_fall: float = 0.1

    def __post_init__(self) -> None:
        for name in ("rows_per_shard", "max_title_chars", "max_abstract_chars", "near_duplicate_min_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 < self.near_duplicate_similarity <= 1:
            raise ValueError(f"near_duplicate_similarity must be above 0 and at most 1, found {self.near_duplicate_similarity}")
        for name in ("collapse_fraction", "share_fall"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")


@dataclass
class BuildFacts:
    """What a build found and did. Only the files go into the output; the rest is for those who watch."""

    papers: int = 0
    with_title: int = 0
    with_abstract: int = 0
    with_image: int = 0
    complete: int = 0
    new: int = 0
    changed: int = 0
    left: int = 0
    rows_before: int | None = None
    images: int = 0
    images_live: int = 0
    merged_statements: int = 0
    near_duplicates: int = 0
    translations: int = 0
    papers_merged: int = 0
    texts_compared: int = 0
    shards_written: int = 0
    pages_parsed: int = 0
    pages_reused: int = 0
    sources: dict[str, Counter] = field(default_factory=dict)
    withdrawn: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)
    unknown_requests: list[str] = field(default_factory=list)
    sources_left_out: list[str] = field(default_factory=list)
