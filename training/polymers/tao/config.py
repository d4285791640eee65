"""What decides the training of a PolyTAO: its size, what it is asked with, what it learns from and for how long."""

from dataclasses import dataclass, field
from typing import Literal

from training.fine_tuning.options import FineTuning
from training.loop.bounds import at_least, within
from training.polymers.tao.prompts import PUBLISHED, Style


@dataclass(frozen=True)
class PolyTAOConfig(FineTuning):
    """The section `polytao` of params.yaml. Samples are molecules; sizes, by default those of T5-base as published, hold only from scratch.

    steps: by property, what counts as 1 in a prompt; 1 where it says nothing, those of other properties are passed over. maximum_tokens: of the
    longest molecule, its end included.
    condition_dropout: share of molecules shown without wishes, and again as many with each wish left out or not by the toss of a coin.
    written_prompts: held-out prompts that are written for at an evaluation, greedily.
    """

    train_on: tuple[Literal["molecules", "polymers"], ...] = ("molecules",)
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    properties: tuple[str, ...] = PUBLISHED
    steps: dict[str, float] = field(default_factory=dict)
    prompt_style: Style = "text"
    maximum_tokens: int = 128
    condition_dropout: float = 0.1
    d_model: int = 768
    layers: int = 12
    heads: int = 12
    d_ff: int = 3072
    written_prompts: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "d_model", "layers", "heads", "d_ff")
        at_least(self, 2, "maximum_tokens")
        at_least(self, 0, "written_prompts")
        within(self, 0, 0.5, "condition_dropout")
        if not self.train_on or not self.properties:
            raise ValueError("train_on and properties must each name at least one")
        if len(set(self.properties)) != len(self.properties):
            raise ValueError(f"properties names one twice: {', '.join(self.properties)}")
        if self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of heads {self.heads}")
        for name, step in self.steps.items():
            if not 0 < step < float("inf"):
                raise ValueError(f"steps.{name} must be above 0, found {step}")

    @property
    def what(self) -> str:
        return "molecules"
