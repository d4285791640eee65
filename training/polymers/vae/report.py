"""Judge PolyVAE: its samples, how well it writes molecules back from their latents, and how much of the latent it uses.

    python -m training.polymers.vae.report
    python -m training.polymers.vae.report --set with_fcd=false --set bootstrap_rounds=100    # seconds on a CPU

Reads data/polyvae, data/polyvae_samples and the tables of real molecules. Writes data/polyvae_report: headline.json, metrics.json, report.md, the
pictures of every report on molecules (training/polymers/report.py), kl.png and interpolation.png.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from formats.molecule_tables import read_molecules
from stages.derived_seed import derive_seed
from stages.markdown import table
from stages.program import program
from stages.reporting import Reporter
from training.loop.bounds import at_least
from training.metrics.intervals import Estimate, Number, Rate, bootstrap_interval, mean_estimate
from training.polymers.batches import TrainingSet, build_training_set
from training.polymers.conditions import MoleculeModelError
from training.polymers.report import EXPECTED, MoleculeReportConfig, judge_samples
from training.polymers.smiles_tokenizer import SmilesTokenizerError
from training.polymers.vae.interpolate import draw_way, way
from training.polymers.vae.model_folder import load_polyvae
from training.polymers.vae.networks import PolyVAE
from training.polymers.vae.reconstruction import Reconstruction, reconstruct
from training.reports.numbers import cell
from training.reports.pictures import draw_panels, draw_sentence
from training.reports.report import Picture, Report, report_body

STAGE = "polyvae_report"
_PARTS = {"learned": "train", "held_out": "test"}
_WORDS = {
    "accuracy": "tokens right, teacher-forced",
    "exact": "molecules right, teacher-forced",
    "greedy_exact": "molecules right, written greedily",
    "kl": "nats in the latent",
    "active_units": "active units",
}


@dataclass(frozen=True)
class PolyVAEReportConfig(MoleculeReportConfig):
    """reconstructed: molecules of each split that are written back. interpolation_steps: molecules of the drawn way, both ends included."""

    reconstructed: int = 1000
    interpolation_steps: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "reconstructed")
        at_least(self, 2, "interpolation_steps")


def judge(config: PolyVAEReportConfig, data: Path, reporter: Reporter) -> Report:
    """The report on the model and the samples below `data`."""
    report = judge_samples(config, data, reporter, stage=STAGE, model="polyvae", samples="polyvae_samples", title="PolyVAE")
    if not (data / "polyvae").is_dir():
        return report
    model, tokenizer = load_polyvae(data / "polyvae")
    parts = {part: _molecules(data, split, config, model, tokenizer) for part, split in _PARTS.items()}
    found = {part: reconstruct(model, tokenizer, molecules, config.seed) for part, molecules in parts.items() if len(molecules)}
    told = {part: _numbers(one, config) for part, one in found.items()}
    for part, numbers in told.items():
        for name, number in numbers.items():
            report.numbers.add(f"reconstruction_{part}_{name}", number)
    kl = {f"{part.replace('_', ' ')}: KL by dimension": partial(_draw_kl, found=one) for part, one in found.items()}
    strip = partial(_draw_strip, config=config, model=model, tokenizer=tokenizer, held_out=parts["held_out"])
    words = f"Between two held-out molecules. Below each: {', '.join(model.shape.properties)}."
    pictures = [
        Picture("What the latent holds", "KL by dimension", "kl.png", lambda path: draw_panels(kl, path, nothing="no molecule to read")),
        Picture("A way through the latent", "interpolation", "interpolation.png", strip, words=words),
    ]
    headline = {**report.headline, "reconstruction_held_out": ["accuracy", "active_units"]}
    text = report.text + _section(told, model.shape.latent)
    return replace(report, text=text, pictures=[*report.pictures, *pictures], headline=headline)


def _molecules(data: Path, split: str, config: PolyVAEReportConfig, model: PolyVAE, tokenizer: Tokenizer) -> TrainingSet:
    """At most `reconstructed` molecules of a split of what the model was trained on, drawn by the seed."""
    shape = model.shape
    how: dict[str, Any] = {"split_column": config.split_column, "properties": shape.properties, "absent_is_missing": True}
    tables = [read_molecules(data / name, split=split, **how) for name in config.trained_on]
    scale: dict[str, Any] = {"mean": shape.property_mean, "std": shape.property_std}
    read = build_training_set(tables, tokenizer, maximum_tokens=shape.maximum_tokens, **scale)
    return read.drawn(config.reconstructed, derive_seed(config.seed, "reconstruction", split))


def _numbers(found: Reconstruction, config: PolyVAEReportConfig) -> dict[str, Number]:
    """By the names of _WORDS. Intervals are over molecules: the tokens of one are right or wrong together."""
    right, tokens, kl = (values.double().numpy() for values in (found.right, found.tokens, found.kl.sum(dim=1)))
    again = {"rounds": config.bootstrap_rounds, "seed": config.seed}
    low, high = bootstrap_interval(len(right), lambda picks: right[picks].sum(axis=1) / tokens[picks].sum(axis=1), **again)
    return {
        "accuracy": Estimate(float(right.sum() / tokens.sum()), len(right), low, high),
        "exact": Rate(int(found.exact.sum()), len(right)),
        "greedy_exact": Rate(int(found.exact_greedy.sum()), len(right)),
        "kl": mean_estimate(kl, **again),
        "active_units": float(found.active_units),
    }


def _section(told: Mapping[str, Mapping[str, Number]], latent: int) -> str:
    rows = [[words, *(cell(numbers[name]) for numbers in told.values())] for name, words in _WORDS.items()]
    words = (
        "Written back from the means of their posteriors, with their properties given. A unit, of "
        f"{latent}, is active where its mean varies by more than 0.01 over the molecules (Burda et al. 2016)."
    )
    return f"\n## Reconstruction\n\n{table(['', *(part.replace('_', ' ') for part in told)], rows)}\n{words}\n"


def _draw_kl(axes: Any, *, found: Reconstruction) -> None:
    kl = found.kl.mean(dim=0).sort(descending=True).values.numpy()
    axes.bar(range(1, len(kl) + 1), kl, width=0.8)
    axes.set_xlabel("dimension, fullest first", fontsize=7)
    axes.set_ylabel("nats", fontsize=7)


def _draw_strip(path: Path, *, config: PolyVAEReportConfig, model: PolyVAE, tokenizer: Tokenizer, held_out: TrainingSet) -> None:
    if len(held_out) < 2:
        return draw_sentence("fewer than two held-out molecules", path)
    pieces = [held_out.tokens[held_out.starts[row] : held_out.starts[row + 1]].tolist() for row in (0, len(held_out) - 1)]
    ends = [tokenizer.decode(ids, skip_special_tokens=True) for ids in pieces]
    _, molecules = way(model, tokenizer, (ends[0], ends[1]), steps=config.interpolation_steps)
    return draw_way(molecules, model.shape.properties, path)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polyvae_report`; see stages/program.py for flags and exit codes."""
    expected = (*EXPECTED, MoleculeModelError, SmilesTokenizerError)
    return program(__doc__, report_body(STAGE, PolyVAEReportConfig, judge), argv, expected=expected)


if __name__ == "__main__":
    sys.exit(main())
