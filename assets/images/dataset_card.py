"""The dataset card: what a folder of pictures is, where it comes from, and under which licences; Markdown with the header Hugging Face reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.images.dataset_config import DatasetConfig, Subject
from formats.hub_cards import header, licence_identifiers, size_category
from stages.markdown import counted, escape, table

_LONGEST_CLASS_TABLE = 200
COLOURS = {"rgb": "RGB", "grey": "grey"}
_SHEETS = {"contact_sheet.png": "The first pictures"}
_RIGHTS = "rights stay with their owners."
_FILES = """\
- `shard-*.zip`: pictures `NNNNN/imgNNNNNNNN.png`, numbered by first appearance, and `dataset.json` with the labels, or null. A number never moves;
  a picture that was left out leaves a gap.
- `index.parquet`: for each picture its number, SHA-256 of the original, shard, member, class, label, {names}.
- `excluded.parquet`: what was left out, and why.
"""


@dataclass(frozen=True)
class CardFacts:
    """What a card counts: pictures by licence, by source and, of those left out, by reason. classes: names by number, [] without labels.

    colours: what the pictures have; empty where the settings say it.
    """

    size_px: int
    shards: int
    licences: Mapping[str, int]
    sources: Mapping[str, int]
    excluded: Mapping[str, int]
    classes: Sequence[str]
    class_counts: Sequence[int]
    colours: str = ""


def card(
    facts: CardFacts,
    config: DatasetConfig,
    subject: Subject,
    *,
    sheets: Sequence[str] = ("contact_sheet.png",),
    sections: Mapping[str, str] | None = None,
) -> str:
    """The text of README.md. Equal facts give equal text; foreign text in it is escaped.

    sheets: files with pictures of the set. sections: by heading, in place of the usual ones or behind them.
    """
    count = sum(facts.licences.values())
    title = f"{subject.title} at {facts.size_px} px"
    left_out = [[escape(reason), f"{number:,}"] for reason, number in sorted(facts.excluded.items())]
    usual = {
        "How it was made": _how_it_was_made(facts, config),
        "Files": _FILES.format(names=subject.names),
        "Licences": counted("licence", "pictures", facts.licences) + f"\nEach row of `index.parquet` names {subject.names}; {_RIGHTS}\n",
        "Sources": counted("source", "pictures", facts.sources),
        "Left out": table(["reason", "pictures"], left_out) if left_out else "Nothing.\n",
        "Labels": _labels(facts, config.labels),
    }
    opening = (
        f"# {title}\n\n{count:,} {subject.pictures} as {facts.colours or COLOURS[config.colours]} pictures of "
        f"{facts.size_px} x {facts.size_px} px, in {facts.shards:,} StyleGAN dataset zips.\n"
        + "".join(f"\n![{_SHEETS.get(sheet, sheet)}]({sheet})\n" for sheet in sheets)
    )
    return "\n".join(
        [_header(title, facts, count, subject), opening, *(f"## {name}\n\n{text}" for name, text in (usual | dict(sections or {})).items())]
    )


def _header(title: str, facts: CardFacts, count: int, subject: Subject) -> str:
    return header(
        {
            "pretty_name": title,
            "license": licence_identifiers(facts.licences),
            "task_categories": subject.tasks,
            "size_categories": [size_category(count)],
            "tags": [*subject.tags, "stylegan"],
        }
    )


def _how_it_was_made(facts: CardFacts, config: DatasetConfig) -> str:
    means = {"lanczos": "Pillow's LANCZOS filter", "box": "the mean of each pixel's area"}[config.resample]
    fitted = {
        "pad": f"put in the middle of a white square of {config.canvas_px} px, or of its longer side where that is more, and brought",
        "crop": "cut to the square in its middle, and brought",
        "squash": "stretched to a square",
    }[config.fit]
    stayed = {"pad": "Nothing was stretched or cropped.", "crop": "Nothing was stretched.", "squash": "Shapes are not what they were."}[config.fit]
    colours = facts.colours or COLOURS[config.colours]
    return (
        f"Each picture was decoded (first frame of an animation, transparency on white, every colour mode to {colours}), "
        f"{fitted} to {facts.size_px} px with {means}. {stayed} The PNGs are lossless.\n"
    )


def _labels(facts: CardFacts, labels: str | None) -> str:
    if labels is None:
        return "None.\n"
    rows = [
        [escape(name), str(number), f"{count:,}"] for number, (name, count) in enumerate(zip(facts.classes, facts.class_counts, strict=True)) if count
    ]
    more = f"\n{len(rows) - _LONGEST_CLASS_TABLE:,} more in `index.parquet`.\n" if len(rows) > _LONGEST_CLASS_TABLE else ""
    head = f"The class of a picture is its {labels}; classes are numbered by first appearance.\n\n"
    return head + table([labels, "class", "pictures"], rows[:_LONGEST_CLASS_TABLE]) + more
