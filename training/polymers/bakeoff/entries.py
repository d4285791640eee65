"""Who is compared: the samples that each model left, refused unless they answer the same requests, and what its training took."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy

from stages.params import read_yaml
from training.polymers.conditions import MoleculeModelError
from training.polymers.origin import check_same_splits, read_origin
from training.polymers.sample_table import SampleGroup, read_sample_groups
from training.polymers.sampling import SamplesConfig

# A model that is of no use without another one: that one's training is part of what it cost.
_STANDS_ON: Mapping[str, tuple[str, ...]] = {"polyldm": ("polyvae",)}


class BakeoffError(MoleculeModelError):
    """The comparison would not be fair, or there is nothing to compare."""


@dataclass(frozen=True)
class Cost:
    """What a training took, by arithmetic: no clock decides a byte of a report.

    parameters: weights. samples: molecules shown, repeats included. flop: floating point operations, 6 for each weight and token (or latent) shown
    (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), those of the models it stands on included; NaN where a summary does not say.
    """

    parameters: int
    samples: int
    flop: float


def check_same_decoding(params: Path, models: Sequence[str]) -> None:
    """Raises BakeoffError where the sampling sections of the models choose tokens differently; temperatures and requests stand in the samples."""
    tree, first = read_yaml(params), models[0]
    for name in ("top_k", "top_p", "guided_like"):
        said = {model: (tree.get(f"{model}_samples") or {}).get(name, getattr(SamplesConfig, name)) for model in models}
        if other := next((model for model in models if said[model] != said[first]), None):
            raise BakeoffError(
                f"{params}: {other}_samples.{name} is {said[other]!r} and {first}_samples.{name} is {said[first]!r}; "
                "models are compared at the same decoding only: give both the same value"
            )


def read_entries(data: Path, models: Sequence[str], *, temperatures: Sequence[float], at_most: int) -> dict[str, dict[str, SampleGroup]]:
    """By name of the decoding and model, its first samples at each of the `temperatures` (none = all): of every model as many as of the one that has
    fewest, `at_most` (0 = no bound).

    Raises SampleTableError, and BakeoffError where the models did not answer the same requests or learnt from different splits.
    """
    decodings: dict[str, dict[str, SampleGroup]] = {}
    for model in models:
        groups = read_sample_groups(data / f"{model}_samples" / "samples.parquet")
        chosen = [group for group in groups if not temperatures or group.temperature in temperatures]
        if not chosen:
            found = ", ".join(f"{group.temperature:g}" for group in groups)
            raise BakeoffError(f"{data / model}_samples: no samples at the temperatures {list(temperatures)}, found {found}; change temperatures")
        for group in chosen:
            decodings.setdefault(group.name, {})[model] = group
        check_same_splits(data / models[0], data / model)
    return {name: _alike(name, groups, models, at_most) for name, groups in decodings.items()}


def learnt_from(data: Path, models: Sequence[str]) -> list[str]:
    """The datasets that any of the models was shown."""
    return sorted({name for model in models for name in read_origin(data / model).data_ids})


def read_cost(data: Path, model: str, tokens_per_molecule: float) -> Cost:
    """From the summary of the training. Raises BakeoffError where there is none."""
    parameters, samples, in_latents = _summary(data / model)
    lent = sum(math.prod(_summary(data / other)[:2]) for other in _STANDS_ON.get(model, ()) if (data / other).is_dir())
    # What learns from latents sees a molecule as one vector, and moves none of the weights it stands on.
    own = in_latents * samples if in_latents else tokens_per_molecule * parameters * samples
    return Cost(parameters, samples, 6 * (own + tokens_per_molecule * lent))


def _summary(folder: Path) -> tuple[int, int, int]:
    """(weights, molecules shown, weights that learn from latents; 0 where the model learns from tokens)"""
    path = folder / "training_summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        return int(summary["parameters"]), int(summary["samples_seen"]), int(summary.get("trained_parameters", 0))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BakeoffError(
            f"{path}: does not say `parameters` and `samples_seen` ({error}); train it again: figment materialize {folder.name}"
        ) from None


def _alike(name: str, groups: Mapping[str, SampleGroup], models: Sequence[str], at_most: int) -> dict[str, SampleGroup]:
    """As many samples of each, for the same requests."""
    number = min(len(group.smiles) for group in groups.values())
    alike = {model: _first(group, min(number, at_most or number)) for model, group in groups.items()}
    first = next(iter(alike))
    for model in models:
        difference = ""
        if model in alike:
            difference = _difference(name, alike[first].requested, alike[model].requested)
        elif not alike[first].is_guided:
            # A model may leave guided decoding out, as it stands in a table of its own.
            difference = f"only one of them has samples at {name}"
        if difference:
            one, other = sorted((first, model), key=models.index)
            raise BakeoffError(
                f"{one} and {other} cannot be compared fairly: {difference}; sample both again with equal sections: "
                f"figment materialize {one}_samples {other}_samples"
            )
    return alike


def _difference(name: str, ours: Mapping[str, numpy.ndarray], theirs: Mapping[str, numpy.ndarray]) -> str:
    if ours.keys() != theirs.keys():
        return f"at {name} they were asked for {', '.join(sorted(ours)) or 'nothing'} and {', '.join(sorted(theirs)) or 'nothing'}"
    for asked in sorted(ours):
        for place, (one, other) in enumerate(zip(ours[asked], theirs[asked], strict=True)):
            if not numpy.array_equal(one, other, equal_nan=True):
                return f"at {name} request {place} is {asked} = {one:g} of one and {other:g} of the other"
    return ""


def _first(group: SampleGroup, number: int) -> SampleGroup:
    if len(group.smiles) == number:
        return group
    requested = {name: values[:number] for name, values in group.requested.items()}
    # How many of these ended by themselves is not known any more, and the table does not say it.
    return replace(group, smiles=group.smiles[:number], finished=0, requested=requested)
