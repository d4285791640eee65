"""Who is compared: the samples that each model left, refused unless they answer the same requests, and what its training took."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy

from stages.params import build_config, read_yaml
from training.polymers.conditions import MoleculeModelError
from training.polymers.origin import check_same_splits, read_origin
from training.polymers.sample_table import SampleGroup, read_sample_groups
from training.polymers.sampling import SamplesConfig

# A model that is of no use without another one: that one's training is part of what it cost.
_STANDS_ON: Mapping[str, tuple[str, ...]] = {"polyldm": ("polyvae",)}
GUIDED = " guided"


class BakeoffError(MoleculeModelError):
    """The comparison would not be fair, or there is nothing to compare."""


@dataclass(frozen=True)
class Cost:
    """What a training took, by arithmetic: no clock decides a byte of a report.

    parameters: weights. samples: molecules shown, repeats included. flop: floating point operations, 6 for each weight and token shown
    (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), those of the models it stands on included; NaN where a summary does not say.
    """

    parameters: int
    samples: int
    flop: float


def check_same_decoding(params: Path, models: Sequence[str]) -> None:
    """Raises BakeoffError where the sampling sections of the models differ in anything but how many molecules are made side by side."""
    tree = read_yaml(params)
    sections = {model: build_config(SamplesConfig, tree.get(f"{model}_samples"), where=f"{params}: {model}_samples") for model in models}
    first = models[0]
    for model, section in sections.items():
        for name, value in vars(section).items():
            if name != "batch_size" and value != (expected := getattr(sections[first], name)):
                raise BakeoffError(
                    f"{params}: {model}_samples.{name} is {value!r} and {first}_samples.{name} is {expected!r}; "
                    "models are compared at the same decoding only: give both the same value"
                )


def read_entries(data: Path, models: Sequence[str], *, temperatures: Sequence[float], at_most: int) -> dict[str, dict[str, SampleGroup]]:
    """By model and name of the decoding, its first `at_most` samples (0 = all) of each of the `temperatures` (none = all).

    Raises SampleTableError, and BakeoffError where the models did not answer the same requests or learnt from different splits.
    """
    entries = {}
    for model in models:
        groups = read_sample_groups(data / f"{model}_samples" / "samples.parquet")
        entries[model] = {group.name: group for group in groups if not temperatures or group.temperature in temperatures}
        if not entries[model]:
            found = ", ".join(f"{group.temperature:g}" for group in groups)
            raise BakeoffError(f"{data / model}_samples: no samples at the temperatures {list(temperatures)}, found {found}; change temperatures")
    first, *others = models
    for model in others:
        check_same_splits(data / first, data / model)
        _check_same_requests(first, entries[first], model, entries[model])
    return {model: {name: _first(group, at_most) for name, group in groups.items()} for model, groups in entries.items()}


def learnt_from(data: Path, models: Sequence[str]) -> list[str]:
    """The datasets that any of the models was shown."""
    return sorted({name for model in models for name in read_origin(data / model).data_ids})


def read_cost(data: Path, model: str, tokens_per_molecule: float) -> Cost:
    """From the summary of the training. Raises BakeoffError where there is none."""
    parameters, samples = _summary(data / model)
    lent = sum(math.prod(_summary(data / other)) for other in _STANDS_ON.get(model, ()) if (data / other).is_dir())
    return Cost(parameters, samples, 6 * tokens_per_molecule * (parameters * samples + lent))


def _summary(folder: Path) -> tuple[int, int]:
    path = folder / "training_summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        return int(summary["parameters"]), int(summary["samples_seen"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BakeoffError(
            f"{path}: does not say `parameters` and `samples_seen` ({error}); train it again: figment materialize {folder.name}"
        ) from None


def _check_same_requests(one: str, ours: Mapping[str, SampleGroup], other: str, theirs: Mapping[str, SampleGroup]) -> None:
    difference = next(_differences(ours, theirs), None)
    if difference is not None:
        raise BakeoffError(
            f"{one} and {other} cannot be compared fairly: {difference}; sample both again with equal sections: "
            f"figment materialize {one}_samples {other}_samples"
        )


def _differences(ours: Mapping[str, SampleGroup], theirs: Mapping[str, SampleGroup]) -> Iterator[str]:
    # A model may leave guided decoding out altogether, as it stands in a table of its own.
    if plain := {name for name in ours.keys() ^ theirs.keys() if GUIDED not in name}:
        yield f"only one of them has samples at {min(plain)}"
    for name in sorted(ours.keys() & theirs.keys()):
        a, b = ours[name], theirs[name]
        if len(a.smiles) != len(b.smiles):
            yield f"at {name} they wrote {len(a.smiles):,} and {len(b.smiles):,} molecules"
        if a.requested.keys() != b.requested.keys():
            yield f"at {name} they were asked for {', '.join(sorted(a.requested)) or 'nothing'} and {', '.join(sorted(b.requested)) or 'nothing'}"
        for asked in sorted(a.requested):
            for place, values in enumerate(zip(a.requested[asked], b.requested[asked], strict=True)):
                if not numpy.array_equal(*values, equal_nan=True):
                    yield f"at {name} request {place} is {asked} = {values[0]:g} of one and {values[1]:g} of the other"


def _first(group: SampleGroup, at_most: int) -> SampleGroup:
    if not at_most or len(group.smiles) <= at_most:
        return group
    requested = {name: values[:at_most] for name, values in group.requested.items()}
    # How many of these ended by themselves is not known any more, and the table does not say it.
    return replace(group, smiles=group.smiles[:at_most], finished=0, requested=requested)
