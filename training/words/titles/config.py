"""What decides the training of title_gpt2 beside what all fine-tunings have in common."""

from dataclasses import dataclass

from training.fine_tuning.options import FineTuning
from training.loop.bounds import at_least, within


@dataclass(frozen=True)
class TitleOptions(FineTuning):
    """The section `title_gpt2` of params.yaml; samples are tokens. vocabulary_size, width, layers and heads are those of new weights.

    length_quantile: of the training titles' lengths, the longest that is learnt, at most `maximum_tokens`; longer ones are set aside.
    packing: several titles in a row, none of which sees another. shown: held-out titles completed at every evaluation.
    abstracts: those of the training split are learnt too, in pieces; title_copies: how often a title then comes in an epoch.
    """

    allow_unknown_licence: bool = False
    length_quantile: float = 1.0
    maximum_tokens: int = 128
    packing: bool = True
    abstracts: bool = False
    title_copies: int = 1
    vocabulary_size: int = 2048
    width: int = 128
    layers: int = 4
    heads: int = 4
    shown: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "width", "layers", "heads", "shown", "title_copies")
        at_least(self, 8, "maximum_tokens")
        within(self, 0, 1, "length_quantile")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
