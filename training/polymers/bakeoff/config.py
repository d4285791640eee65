"""The section `molecule_bakeoff` of params.yaml."""

from dataclasses import dataclass
from typing import Literal

from training.polymers.scoring import Dataset, ScoringConfig

Baseline = Literal["random", "nearest", "ngram"]


@dataclass(frozen=True)
class BakeoffConfig(ScoringConfig):
    """How the models are compared; see ScoringConfig for how each of them is judged. Novelty is against all that any of them was shown.

    models: whose samples enter, `data/<name>` and `data/<name>_samples`. baselines: what needs no model; see baselines.py.
    unconditional_like, conditional_like: the dataset whose molecules the samples should look like; `polymers` also asks for two stars.
    samples_at_most: first samples of each decoding that are judged, of every model alike; 0 = all. temperatures: that are compared; none = all.
    ngram: order of the n-gram model, its context is one shorter. ngram_of: what its tokens are.
    drawn_requests: rows of the picture of answers. beaten: the baselines that the check `beats_baselines` is about.
    """

    models: tuple[str, ...] = ("polygpt", "polytao", "polyvae", "polyldm")
    baselines: tuple[Baseline, ...] = ("random", "nearest", "ngram")
    unconditional_like: Dataset = "molecules"
    conditional_like: Dataset = "molecules"
    samples_at_most: int = 0
    temperatures: tuple[float, ...] = ()
    ngram: int = 6
    ngram_of: Literal["atoms", "characters"] = "atoms"
    drawn_requests: int = 6
    beaten: tuple[Baseline, ...] = ("random", "ngram")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models or len(set(self.models)) < len(self.models):
            raise ValueError(f"models needs different names of at least one model, found {list(self.models)}")
        if clash := set(self.models) & set(self.baselines):
            raise ValueError(f"models and baselines share the name {min(clash)}")
        if unknown := set(self.beaten) - set(self.baselines):
            raise ValueError(f"beaten names {min(unknown)}, which is not among baselines")
        for name in ("samples_at_most", "drawn_requests"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if self.ngram < 1:
            raise ValueError(f"ngram must be at least 1, found {self.ngram}")

    def like(self, mode: str) -> Dataset:
        """The dataset that samples of `mode` are judged by."""
        return self.unconditional_like if mode.startswith("unconditional") else self.conditional_like
