"""The dataset card: what a folder of pictures is, where it comes from, and under which licences; Markdown with the header Hugging Face reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.images.dataset_config import DatasetConfig, Subject
from stages.markdown import counted, escape, table

# Identifiers that the header may name; everything else is `other`, and the table below it says which.
_CREATIVE_COMMONS = ("2.0", "3.0", "4.0", "nc-4.0", "nc-nd-4.0", "nc-sa-4.0", "nd-4.0", "sa-3.0", "sa-4.0")
_KNOWN_LICENCES = {"apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "mit", *(f"cc-by-{terms}" for terms in _CREATIVE_COMMONS)}
_SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LONGEST_CLASS_TABLE = 200
_COLOURS = {"rgb": "RGB", "grey": "grey"}
_RIGHTS = "rights stay with their owners."
_FILES = """\
- `shard-*.zip`: pictures `NNNNN/imgNNNNNNNN.png`, numbered by first appearance, and `dataset.json` with the labels, or null. A number never moves;
  a picture that was left out leaves a gap.
- `index.parquet`: for each picture its number, SHA-256 of the original, shard, member, class, label, {names}.
- `excluded.parquet`: what was left out, and why.
"""


@dataclass(frozen=True)
class CardFacts:
    """What a card counts: pictures by licence, by source and, of those left out, by reason. classes: names by number, [] without labels."""

    size_px: int
    shards: int
    licences: Mapping[str, int]
    sources: Mapping[str, int]
    excluded: Mapping[str, int]
    classes: Sequence[str]
    class_counts: Sequence[int]


def card(facts: CardFacts, config: DatasetConfig, subject: Subject) -> str:
    """The text of README.md. Equal facts give equal text; foreign text in it is escaped."""
    count = sum(facts.licences.values())
    title = f"{subject.title} at {facts.size_px} px"
    left_out = [[escape(reason), f"{number:,}"] for reason, number in sorted(facts.excluded.items())]
    sections = {
        "How it was made": _how_it_was_made(facts, config),
        "Files": _FILES.format(names=subject.names),
        "Licences": counted("licence", "pictures", facts.licences) + f"\nEach row of `index.parquet` names {subject.names}; {_RIGHTS}\n",
        "Sources": counted("source", "pictures", facts.sources),
        "Left out": table(["reason", "pictures"], left_out) if left_out else "Nothing.\n",
        "Labels": _labels(facts, config.labels),
    }
    opening = (
        f"# {title}\n\n{count:,} {subject.pictures} as {_COLOURS[config.colours]} pictures of "
        f"{facts.size_px} x {facts.size_px} px, in {facts.shards:,} StyleGAN dataset zips.\n\n![The first pictures](contact_sheet.png)\n"
    )
    return "\n".join([_header(title, facts, count, subject), opening, *(f"## {name}\n\n{text}" for name, text in sections.items())])


def _header(title: str, facts: CardFacts, count: int, subject: Subject) -> str:
    licences = sorted({name if (name := licence.lower()) in _KNOWN_LICENCES else "other" for licence in facts.licences})
    size = next((words for limit, words in _SIZE_CATEGORIES if count < limit), "n>1M")
    lines = [
        "---",
        f"pretty_name: {title}",
        "license:",
        *(f"- {licence}" for licence in licences or ["other"]),
        "task_categories:",
        "- unconditional-image-generation",
        "size_categories:",
        f"- {size}",
        "tags:",
        *(f"- {tag}" for tag in (*subject.tags, "stylegan")),
        "---",
        "",
    ]
    return "\n".join(lines)


def _how_it_was_made(facts: CardFacts, config: DatasetConfig) -> str:
    means = {"lanczos": "Pillow's LANCZOS filter", "box": "the mean of each pixel's area"}[config.resample]
    fitted = {
        "pad": f"put in the middle of a white square of {config.canvas_px} px, or of its longer side where that is more, and brought",
        "crop": "cut to the square in its middle, and brought",
    }[config.fit]
    stayed = {"pad": "Nothing was stretched or cropped.", "crop": "Nothing was stretched."}[config.fit]
    return (
        f"Each picture was decoded (first frame of an animation, transparency on white, every colour mode to {_COLOURS[config.colours]}), "
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
