"""Titles and abstracts of papers to learn from: plain text, within bounds, licensed, and split so that no work is on both sides.

python -m assets.words.paper_texts
"""

import re
import sys
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from formats.plain_text import letters_of, plain_text
from formats.splits import SplitRule
from formats.tables import columns, table_from_rows, write_table
from formats.text_tables import PAPER_TEXTS, TextTableError, read_text_table
from stages.markdown import counted, escape, table
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter

REJECTED = columns(id=str, serial=int, what=str, reason=str, words=str)  # what: paper, or abstract where the title stays

_LINKS = ("near_duplicate_of", "translation_of")
_NAMES = (*(name for name in PAPER_TEXTS.names if name not in ("group", "split")), *_LINKS)
# With what it holds: none of it was meant to be read.
_UNREAD = re.compile(r"<(script|style|iframe|object|template|noscript)\b[^<>]*>.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)", re.IGNORECASE | re.DOTALL)
_LONGEST_RAW = 200_000  # characters; what is longer is not even cleaned

Row = dict[str, Any]
Fault = tuple[str, str]  # reason and words


@dataclass(frozen=True)
class PaperTextsConfig:
    """The section `paper_texts` of params.yaml.

    min_title_chars, max_title_chars: a paper with another title is set aside.
    min_abstract_chars, max_abstract_chars: an abstract outside is left out; its title stays.
    languages: such as [en]; `en` holds en-GB. null: all. with_unstated_language: those of which no page says it, too.
    split: fractions of the groups, by a hash; its seed draws others. rows_per_shard: serials of a Parquet shard.
    """

    min_title_chars: int = 3
    max_title_chars: int = 400
    min_abstract_chars: int = 40
    max_abstract_chars: int = 10_000
    languages: list[str] | None = None
    with_unstated_language: bool = True
    allow_unknown_licence: bool = False
    respect_tdm_reservation: bool = True
    split: SplitRule = field(default_factory=SplitRule)
    rows_per_shard: int = 5_000

    def __post_init__(self) -> None:
        for what in ("title", "abstract"):
            low, high = getattr(self, f"min_{what}_chars"), getattr(self, f"max_{what}_chars")
            if not 1 <= low <= high <= _LONGEST_RAW:
                raise ValueError(f"min_{what}_chars and max_{what}_chars must be in order, from 1 to {_LONGEST_RAW:,}; found {low} and {high}")
        if self.rows_per_shard < 1 or self.languages == []:
            raise ValueError(f"rows_per_shard must be at least 1, and languages null or name one; found {self.rows_per_shard} and {self.languages}")


def build_paper_texts(config: PaperTextsConfig, papers: Path, target: Path) -> Counter[str]:
    """Write the folder `target` from the `papers` in the folder `papers`, and give how many were set aside, by reason.

    Equal papers give equal bytes whatever was there before; a shard holds a fixed range of serials, so that a paper that changes alters its own.
    Raises TextTableError where there are no papers, or none that may be used.
    """
    found = read_text_table(papers, _NAMES).to_pylist()
    # Also what cannot be used ties others together: two translations of a paper that is set aside are still one work.
    groups = group_works(found)
    shards: dict[int, list[Row]] = defaultdict(list)
    rejected: list[Row] = []
    for row in found:
        kept, what, fault = _judged(config, row)
        if fault:
            rejected.append({"id": row["id"], "serial": row["serial"], "what": what, "reason": fault[0], "words": fault[1]})
        if kept:
            group = groups[row["id"]]
            shards[row["serial"] // config.rows_per_shard].append({**kept, "group": group, "split": config.split.split_of(group)})
    reasons = Counter(row["reason"] for row in rejected)
    if not shards:
        why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "there is none"
        raise TextTableError(f"{target.name}: no paper of {papers} can be used: {why}; widen what the section {target.name} allows")
    with OutputFolder(target) as output:
        for number, members in sorted(shards.items()):
            write_table(output.file(f"{target.name}-{number:05d}.parquet"), table_from_rows(PAPER_TEXTS, members))
        write_table(output.file("rejected.parquet"), table_from_rows(REJECTED, rejected))
    return reasons


def group_works(papers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The group of each paper, by id: the id of the first, by serial, of all that links, titles and pictures tie to it, also through others."""
    leader = {row["id"]: row["id"] for row in papers}
    ranks = {row["id"]: row["serial"] for row in papers}
    holders: dict[Fault, str] = {}

    def find(id: str) -> str:
        while leader[id] != id:
            leader[id] = id = leader[leader[id]]
        return id

    for row in papers:
        for tie in _ties(row):
            first, other = sorted((find(row["id"]), find(holders.setdefault(tie, row["id"]))), key=ranks.__getitem__)
            leader[other] = first
    return {id: find(id) for id in leader}


def split_leaks(papers: Sequence[Mapping[str, Any]], splits: Mapping[str, str]) -> list[str]:
    """What ties papers of several splits to each other. splits: by id, of those that were kept."""
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in papers:
        for tie in _ties(row):
            sides[tie] |= {splits[row["id"]]} if row["id"] in splits else set()
    return sorted(":".join(tie) for tie, found in sides.items() if len(found) > 1)


def _ties(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What two papers of one work have in common. A paper is tied to its own id, since others name it."""
    yield from (("id", id) for id in (row["id"], *(row[name] for name in _LINKS)) if id)
    if row["image_sha256"]:
        yield "picture", row["image_sha256"]
    if title := letters_of(_readable(row["title"] or "")):
        yield "title", title


def _judged(config: PaperTextsConfig, row: Row) -> tuple[Row | None, str, Fault | None]:
    """(the row as it is kept, or None, what was set aside: paper or abstract, and why, or None)."""
    title, fault = _within(row["title"], config.min_title_chars, config.max_title_chars, "title")
    licence, language = row["licence"] or "unknown", (row["language"] or "").lower()
    wanted = {name.lower() for name in config.languages or ()}
    is_foreign = bool(wanted) and not ({language, language.partition("-")[0]} & wanted if language else config.with_unstated_language)
    refusals = (
        (title is None, "no_title", "it has none"),
        (licence == "unknown" and not config.allow_unknown_licence, "unknown_licence", "no page says under what licence it is"),
        (row["tdm_reserved"] and config.respect_tdm_reservation, "tdm_reserved", "its publisher reserves text and data mining"),
        (is_foreign, "other_language", f"'{language[:40]}', expected one of {', '.join(sorted(wanted))}"),
    )
    if fault := fault or next(((reason, words) for is_so, reason, words in refusals if is_so), None):
        return None, "paper", fault
    abstract, fault = _within(row["abstract"], config.min_abstract_chars, config.max_abstract_chars, "abstract")
    return {**row, "title": title, "abstract": abstract, "licence": licence}, "abstract", fault


def _within(raw: str | None, low: int, high: int, what: str) -> tuple[str | None, Fault | None]:
    """(the clean text, or None, what is wrong with it, or None)."""
    text = raw or "" if len(raw or "") > _LONGEST_RAW else _readable(raw or "")
    if text and not low <= len(text) <= high:
        reason = f"{what}_too_{'long' if len(text) > high else 'short'}"
        return None, (reason, f"{len(text):,} characters, expected {low:,} to {high:,} (min_{what}_chars, max_{what}_chars)")
    if text and not any(map(str.isalpha, text)):
        return None, (f"{what}_without_letters", f"'{text[:40]}'")
    return text or None, None


def _readable(raw: str) -> str:
    """Plain text in one line. What is taken out may uncover more of its kind, so it is looked at again; only an attacker needs twenty rounds."""
    text = plain_text(raw)
    for _ in range(20):
        if (shown := plain_text(_UNREAD.sub("", text))) == text:
            return text
        text = shown
    return plain_text(text.replace("<", " "))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(TextTableError,))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "paper_texts", PaperTextsConfig, overrides=arguments.overrides)
    papers, target = arguments.data / "papers", arguments.data / "paper_texts"
    reasons = build_paper_texts(config, papers, target)
    # Read back, so that what was published is what is judged.
    rows = read_text_table(target).to_pylist()
    unknown = sum(row["licence"] == "unknown" for row in rows)
    reporter.check("licences_known", unknown == 0, severity="WARN", rows_of_unknown_licence=unknown)
    leaks = split_leaks(read_text_table(papers, _NAMES).to_pylist(), {row["id"]: row["split"] for row in rows})
    reporter.check("no_split_leak", not leaks, leaks=len(leaks), first=leaks[0] if leaks else "")
    groups, splits = Counter(row["group"] for row in rows), Counter(row["split"] for row in rows)
    facts = {"with_abstract": sum(row["abstract"] is not None for row in rows), "groups": len(groups), "largest_group": max(groups.values())}
    reporter.metadata(rows=len(rows), **facts, splits=dict(splits), rejected_by_reason=dict(reasons))
    shown = ", ".join(f"{count:,} {name}" for name, count in [*facts.items(), *splits.most_common(), ("set aside", reasons.total())])
    reporter.log(f"paper_texts: {len(rows):,} ({shown})")
    reporter.markdown("set_aside", counted("reason", "papers or abstracts", reasons))
    reporter.markdown("examples", table(["title", "split"], [[escape(row["title"]), row["split"]] for row in rows[-8:]]))


if __name__ == "__main__":
    sys.exit(main())
