"""What decides the training of a T5 from titles to abstracts or back, and how its texts are judged."""

from dataclasses import dataclass
from typing import Literal

from training.fine_tuning.generation import Generation
from training.fine_tuning.options import FineTuning
from training.loop.bounds import at_least
from training.tracking.tracker import PromotionRule

# Abstracts without two tokens twice; titles drawn three at a time, because beams give nearly the same three.
GENERATIONS = {
    "abstract_t5": Generation(no_repeat_ngram=2, max_new_tokens=512),
    "title_t5": Generation("sample", top_k=5, top_p=0.95, returns=3, max_new_tokens=128),
}


@dataclass(frozen=True)
class T5Options(FineTuning):
    """The sections `abstract_t5` and `title_t5` of params.yaml. Samples are tokens of both texts; the sizes of a T5 hold only from scratch.

    title_tokens, abstract_tokens: most of a text; longer ones are cut. prefix: before each source, such as "summarize: ".
    """

    vocabulary_size: int = 8000
    d_model: int = 512
    layers: int = 6
    heads: int = 8
    d_ff: int = 1024
    title_tokens: int = 128
    abstract_tokens: int = 512
    prefix: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "d_model", "layers", "heads", "d_ff")
        at_least(self, 2, "title_tokens", "abstract_tokens")


@dataclass(frozen=True)
class T5ReportOptions:
    """The sections of the reports. generation: how texts are written; null = as GENERATIONS says, up to the model's target_tokens.

    split: whose pairs are judged. most_pairs: that are scored; written_pairs: of these, that texts are written for.
    gain_floor: `reads_its_input` warns where another's source makes targets dearer by less. promote: when the model becomes the champion.
    """

    generation: Generation | None = None
    split: Literal["valid", "test"] = "test"
    most_pairs: int = 2000
    written_pairs: int = 200
    bootstrap_rounds: int = 1000
    gain_floor: float = 0.05
    seed: int = 0
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "most_pairs", "written_pairs")
        at_least(self, 0, "bootstrap_rounds", "gain_floor")
