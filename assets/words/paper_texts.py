"""Titles and abstracts of papers to learn from: plain text, within bounds, licensed, and split so that no work is on both sides.

python -m assets.words.paper_texts
"""

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
from stages.markdown import counted
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter

REJECTED = columns(id=str, serial=int, what=str, reason=str, words=str)  # what: paper, or abstract where the title stays

_LINKS = ("near_duplicate_of", "translation_of")
_NAMES = (*(name for name in PAPER_TEXTS.names if name not in ("group", "split")), *_LINKS)
_LONGEST = 100_000  # characters

Row = dict[str, Any]
Fault = tuple[str, str]  # reason, words


@dataclass(frozen=True)
class PaperTextsConfig:
    """The section `paper_texts` of params.yaml.

    A paper whose title is out of bounds is set aside; of one whose abstract is, the title stays. `en` among languages holds en-GB; null: all.
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
        for low, high in ((self.min_title_chars, self.max_title_chars), (self.min_abstract_chars, self.max_abstract_chars)):
            if not 1 <= low <= high <= _LONGEST:
                raise ValueError(f"min and max of chars must be in order, from 1 to {_LONGEST:,}; found {low} and {high}")
        if self.rows_per_shard < 1 or self.languages == []:
            raise ValueError(f"rows_per_shard must be at least 1, and languages null or name one; found {self.rows_per_shard} and {self.languages}")


def build_paper_texts(config: PaperTextsConfig, papers: Path, target: Path) -> Counter[str]:
    """Write the folder `target` from the `papers` in the folder `papers`, and give how many were set aside, by reason.

    A shard holds a fixed range of serials, so that a paper that changes alters its own.
    Raises TextTableError where there are no papers, or none that may be used.
    """
    found = read_text_table(papers, _NAMES).to_pylist()
    # Also what cannot be used ties others together: two translations of a paper that is set aside are still one work.
    groups = group_works(found)
    shards: dict[int, list[Row]] = defaultdict(list)
    rejected: list[Row] = []
    for row in found:
        kept, fault = _judged(config, row)
        if fault:
            what = "abstract" if kept else "paper"
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
    ranks = {row["id"]: row["serial"] for row in papers}
    members = {id: [id] for id in ranks}
    holders: dict[tuple[str, str], str] = {}
    for row in papers:
        for tie in _ties(row):
            first, other = sorted((members[row["id"]], members[holders.setdefault(tie, row["id"])]), key=lambda ids: ranks[ids[0]])
            if first is not other:
                first += other
                members.update(dict.fromkeys(other, first))
    return {id: ids[0] for id, ids in members.items()}


def split_leaks(papers: Sequence[Mapping[str, Any]], splits: Mapping[str, str]) -> list[str]:
    """What ties papers of several splits to each other. splits: by id, of those that were kept."""
    sides = {(tie, splits[row["id"]]) for row in papers if row["id"] in splits for tie in _ties(row)}
    return sorted(":".join(tie) for tie, count in Counter(tie for tie, _ in sides).items() if count > 1)


def _ties(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What two papers of one work have in common. A paper is tied to its own id, since others name it."""
    yield from (("id", id) for id in (row["id"], *(row[name] for name in _LINKS)) if id)
    if row["image_sha256"]:
        yield "picture", row["image_sha256"]
    if title := letters_of(plain_text(row["title"] or "")):
        yield "title", title


def _judged(config: PaperTextsConfig, row: Row) -> tuple[Row | None, Fault | None]:
    """(the row as it is kept, or None, why the paper, or else its abstract, was set aside, or None)."""
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
        return None, fault
    abstract, fault = _within(row["abstract"], config.min_abstract_chars, config.max_abstract_chars, "abstract")
    return {**row, "title": title, "abstract": abstract, "licence": licence}, fault


def _within(raw: str | None, low: int, high: int, what: str) -> tuple[str | None, Fault | None]:
    """(the clean text, or None, what is wrong with it, or None)."""
    text = plain_text(raw or "")
    fault = "too_long" if len(text) > high else "too_short" if len(text) < low else "" if any(map(str.isalpha, text)) else "without_letters"
    if not text or not fault:
        return text or None, None
    return None, (f"{what}_{fault}", f"{len(text):,} characters, expected {low:,} to {high:,}, letters among them: '{text[:40]}'")


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


if __name__ == "__main__":
    sys.exit(main())
