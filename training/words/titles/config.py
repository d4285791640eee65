"""What decides the training of title_gpt2 beside what all fine-tunings have in common."""

from dataclasses import dataclass

from training.loop.bounds import at_least, within
from training.words.fine_tuning import FineTuning


@dataclass(frozen=True)
class TitleOptions(FineTuning):
    """The section `title_gpt2` of params.yaml; samples are tokens. Sizes and vocabulary are those of new weights (start_from None).

    length_quantile: of the training titles' lengths, the longest that is learnt, at most `maximum_tokens`; longer ones are set aside.
    packing: several titles in a row, none of which sees another. shown_words: first words of held-out titles that are completed at evaluations.
    """

    allow_unknown_licence: bool = False
    length_quantile: float = 1.0
    maximum_tokens: int = 128
    packing: bool = True
    vocabulary_size: int = 2048
    width: int = 128
    layers: int = 4
    heads: int = 4
    # What is shown at every evaluation
    samples: int = 16
    shown_words: int = 4
    top_p: float = 0.8
    max_new_tokens: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "width", "layers", "heads", "samples", "shown_words", "max_new_tokens")
        at_least(self, 4, "maximum_tokens")
        within(self, 0, 1, "length_quantile", "top_p")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
