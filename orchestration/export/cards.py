"""README.md of an exported model or table: what it is, what it was made from and under which licences, how good it is, where it ends, how to load it.

Equal facts give equal text; no date, place or version of a machine is among them. Foreign text is escaped.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from formats.hub_cards import header, licence_identifiers, size_category
from stages.markdown import escape, table

_QUALIFIERS = ("_low", "_high", "_n", "_sd")


@dataclass(frozen=True)
class Source:
    """An artifact that went into another, directly or not. licences: rows by licence, empty where its tables name none or are not at hand."""

    name: str
    id: str
    licences: Mapping[str, int]


@dataclass(frozen=True)
class About:
    """What the project has on record of the artifact `name`. metrics: numbers by name, by the report on this very version that gives them."""

    name: str
    id: str
    description: str = ""
    sources: Sequence[Source] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def licences(self) -> list[str]:
        return sorted({licence for source in self.sources for licence in source.licences})


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    unit: str = ""


@dataclass(frozen=True)
class TableFacts:
    """rows: by split. licences: rows by licence, where the table names them."""

    rows: Mapping[str, int]
    columns: Sequence[Column]
    licences: Mapping[str, int]


@dataclass(frozen=True)
class _Kind:
    """What is said of all models of one kind. loading: Markdown. limits: sentences."""

    title: str
    library: str
    task: str
    tags: tuple[str, ...]
    loading: str
    limits: tuple[str, ...]


_POLYGPT = _Kind(
    "PolyGPT",
    "transformers",
    "text-generation",
    ("chemistry", "molecules", "polymers", "smiles"),
    """\
With `torch` and `transformers`, and nothing of Figment (`modeling_polygpt.py` in this folder is what runs, hence `trust_remote_code`):

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
tokens = model.generate(num_return_sequences=10, temperature=0.8)
print(tokenizer.batch_decode(tokens, skip_special_tokens=True))
```

`model.generate(properties=model.wanted({wanted}), …)` asks for properties, in the units below.
`model.told(tokenizer(smiles, return_tensors="pt").input_ids)` tells what the model makes of a molecule.
""",
    (
        "Not every text it writes is a molecule: parse each one. One that parses need not be stable, safe or possible to make.",
        "Requested properties are met on average and within the range of the training data, not exactly; measure what you got.",
        "It knows no molecule longer than its room, no element outside its tokenizer, and prefers what its training data have much of.",
        "It may write molecules of the training data again; compare with them where that matters.",
    ),
)


def _picture_gan(title: str, package: str, psi: str, *limits: str) -> _Kind:
    """A generator of pictures from latent vectors whose networks are in training/<package>."""
    return _Kind(
        title,
        "pytorch",
        "unconditional-image-generation",
        (title.lower().replace(" ", "-"), "gan"),
        f"""\
The weights are plain safetensors, and `config.json` says what the networks are built from; the networks are Figment's. In a checkout of it:

```python
import torch
from training.{package} import load_generator

generator = load_generator("path/to/this/folder")
images = generator(torch.randn(4, generator.config.z_dim), truncation_psi={psi})  # [4, C, H, W], about [-1, 1]
```

It is no pickle of the original implementation, and that does not read it.
""",
        (
            "Pictures are imagined: nothing in them is a fact, least of all structures, text and numbers.",
            "It may have learned single training pictures by heart; the report's nearest neighbours are where to look.",
            "It draws what its training pictures show often, at one size, and nothing else.",
            *limits,
        ),
    )


def _of_transformers(name: str, config: Mapping[str, Any], own_card: str) -> _Kind:
    """A model whose class transformers has. own_card: the README.md that its training wrote, which names the task and the limits."""
    kind, task = config["architectures"][0], "".join(re.findall(r"^pipeline_tag: (\S+)$", own_card, re.MULTILINE)[:1])
    pictures, texts = "image" in task, "feature" not in task
    lines = [f"model = {kind}.from_pretrained(folder)"]
    lines += ["processor = AutoImageProcessor.from_pretrained(folder)"] * pictures + ["tokenizer = AutoTokenizer.from_pretrained(folder)"] * texts
    names = ", ".join(sorted([kind, *["AutoImageProcessor"] * pictures, *["AutoTokenizer"] * texts]))
    code = "\n".join([f"from transformers import {names}", "", 'folder = "."  # this folder', *lines])
    loading = f"With `torch` and `transformers`, and nothing of Figment:\n\n```python\n{code}\n```\n"
    limits = tuple(filter(None, [" ".join(own_card.partition("\n## Limits\n")[2].split())]))
    return _Kind(name, "transformers", task, (config["model_type"],), loading, limits)


_TEXT_GENERATOR = _Kind(
    "Generator of sentences",
    "pytorch",
    "text-generation",
    ("text-gan", "gan"),
    """\
The weights are plain safetensors, and `config.json` says what the network is built from; the network is Figment's. In a checkout of it:

```python
from pathlib import Path
import torch
from training.words.text_gan.networks import load_generator, sample

generator, tokenizer = load_generator(Path("path/to/this/folder"), torch.device("cpu"))
print(sample(generator, tokenizer, 10))
```
""",
    (
        "Sentences are made up, and may be sentences that it has learnt: the report counts them.",
        "It knows the words in `tokenizer.json` and no others.",
    ),
)
_CYCLEGAN = _Kind(
    "CycleGAN",
    "pytorch",
    "image-to-image",
    ("cyclegan", "gan", "unpaired-image-translation"),
    """\
The weights are plain safetensors (`G_A` makes pictures of B from those of A, `G_B` the other way round), and `config.json` says what the networks are
built from; the networks are Figment's. In a checkout of it:

```python
from training.cyclegan import load_generators

both = load_generators("path/to/this/folder")
of_b = both.a_to_b(of_a)  # [N, 3, H, W] in [-1, 1], sides multiples of both.config.multiple
```

`python -m training.cyclegan.translate --network path/to/this/folder --direction b2a --images FOLDER --outdir out` takes pictures of any size.
""",
    (
        "It changes colours and textures; what a picture shows stays, or gets lost.",
        "It was trained on pictures of one size and knows no textures beyond that scale.",
        "What it has not seen in either domain it translates as if it had.",
    ),
)
_KINDS = {
    "polygpt": _POLYGPT,
    "stylegan3": _picture_gan("StyleGAN3", "stylegan3", "0.8"),
    "progressive_gan": _picture_gan(
        "Progressive GAN",
        "progressive",
        "1.0",
        "A network that was still growing draws as far as it has grown (`grown_px` and `alpha` in `config.json`), with pixels repeated.",
    ),
    "cyclegan": _CYCLEGAN,
    "text_generator": _TEXT_GENERATOR,
}


def model_card(about: About, config: Mapping[str, Any], summary: Mapping[str, Any], own_card: str = "") -> str:
    """config: config.json of the model. summary: what its training_options.json and training_summary.json say, {} where there is neither.
    own_card: its own README.md, where it has one.
    """
    kind = _KINDS.get(str(config.get("model_type")))
    if kind is None and config.get("architectures"):
        kind = _of_transformers(about.name, config, own_card)
    kind = kind or _Kind(about.name, "pytorch", "", (), "The weights are plain safetensors; the program that made them reads them.\n", ())
    licences = licence_identifiers(about.licences)
    opening = {"license": licences, "library_name": kind.library, "pipeline_tag": kind.task, "tags": [*kind.tags, "figment"]}
    sections = {
        "How to load it": kind.loading.replace("{wanted}", _example(config)),
        "Properties": _properties(config),
        "Training": _training(summary),
        "Data": _data(about),
        "Metrics": _metrics(about, summary),
        "Limits": "".join(f"- {sentence}\n" for sentence in kind.limits),
    }
    return _page(header(opening), kind.title, about, sections)


def dataset_card(about: About, facts: TableFacts) -> str:
    """The card of a table whose splits lie in data/<split>-*.parquet."""
    names = sorted(facts.licences) or about.licences
    size = size_category(sum(facts.rows.values()))
    opening = {"pretty_name": about.name, "license": licence_identifiers(names), "size_categories": [size], "tags": ["figment"]}
    files = "".join(f"  - split: {split}\n    path: data/{split}-*\n" for split in facts.rows)
    configs = f"configs:\n- config_name: default\n  data_files:\n{files}"
    sections = {
        "Files": table(["split", "rows"], [[escape(split), f"{rows:,}"] for split, rows in facts.rows.items()])
        + '\n`datasets.load_dataset("path/to/this/folder")` reads them, and so does every reader of Parquet.\n',
        "Columns": table(["column", "type", "unit"], [[escape(column.name), escape(column.type), escape(column.unit)] for column in facts.columns]),
        "Licences": _counted(facts.licences) if facts.licences else "",
        "Data": _data(about),
    }
    return _page(header(opening, more=configs), about.name, about, sections)


def _page(head: str, title: str, about: About, sections: Mapping[str, str]) -> str:
    opening = f"# {escape(title)}\n\n{escape(about.description)}\n\nThe artifact `{about.name}` of Figment, version `{about.id}`.\n"
    return "\n".join([head, opening, *(f"## {name}\n\n{text}" for name, text in sections.items() if text)])


def _data(about: About) -> str:
    if not about.sources:
        return ""
    rows = [[f"`{source.name}`", f"`{source.id}`", _licence_words(source.licences)] for source in about.sources]
    words = "Made from these versions; licences are counted by rows. Rights stay with their owners, who may have terms for copies and for models.\n"
    return f"{table(['artifact', 'version', 'licences'], rows)}\n{words}"


def _licence_words(licences: Mapping[str, int]) -> str:
    return ", ".join(f"{escape(name)} ({count:,})" for name, count in sorted(licences.items())) or "–"


def _counted(licences: Mapping[str, int]) -> str:
    return table(["licence", "rows"], [[escape(name), f"{count:,}"] for name, count in sorted(licences.items())])


def _example(config: Mapping[str, Any]) -> str:
    """The first property with a value that the training data have."""
    names, means = config.get("properties") or [], config.get("property_mean") or []
    return f"{names[0]}={means[0]:.4g}" if names else ""


def _properties(config: Mapping[str, Any]) -> str:
    names = config.get("properties") or []
    units = config.get("property_units") or {}
    scale = zip(names, config.get("property_mean") or [], config.get("property_std") or [], strict=True)
    rows = [[escape(name), escape(units.get(name, "")), f"{mean:.4g}", f"{std:.4g}"] for name, mean, std in scale]
    return table(["property", "unit", "mean of the training data", "standard deviation"], rows) if rows else ""


def _training(summary: Mapping[str, Any]) -> str:
    names = ("start_from", "parameters", "samples_seen", "molecules", "resolution", "grown_px", "pictures", "images_seen")
    told = {name: summary[name] for name in names if summary.get(name) is not None}
    return table(["", ""], [[escape(name.replace("_", " ")), _value(value)] for name, value in told.items()]) if told else ""


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(name))} {_value(part)}" for name, part in value.items())
    return f"{value:,}" if isinstance(value, int) else escape(json.dumps(value))


def _metrics(about: About, summary: Mapping[str, Any]) -> str:
    validated = {name: value for name, value in sorted((summary.get("last_values") or {}).items()) if name.startswith("validation_")}
    parts = {"Held-out data, at the end of the training": validated, **{f"`{report}`": metrics for report, metrics in about.metrics.items()}}
    head = ["metric", "value", "95 % interval", "n"]
    return "\n".join(f"{title}:\n\n{table(head, list(_metric_rows(numbers)))}" for title, numbers in parts.items() if numbers)


def _metric_rows(numbers: Mapping[str, float]) -> Iterator[list[str]]:
    """One row for each value, with the ends of its interval and its denominator beside it."""
    for name, value in numbers.items():
        if not any(name.endswith(ending) and name.removesuffix(ending) in numbers for ending in _QUALIFIERS):
            low, high, count = (numbers.get(f"{name}{ending}") for ending in _QUALIFIERS[:3])
            interval = f"{low:.4g}…{high:.4g}" if low is not None and high is not None else ""
            yield [escape(name), f"{value:.4g}", interval, f"{count:,.0f}" if count is not None else ""]
