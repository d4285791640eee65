"""Titles for pictures, as a saved titler writes them: with the search that its generation_config.json asks for."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from training.words.captions.pictures import Pictures
from training.words.generation import Generation, generate

_AT_ONCE = 16


def search_of(model: PreTrainedModel) -> Generation:
    """The settings saved with the model, in the words of `training.words.generation`."""
    saved: Any = model.generation_config
    return Generation(
        strategy="beam",
        beams=saved.num_beams,
        no_repeat_ngram=saved.no_repeat_ngram_size,
        length_penalty=saved.length_penalty,
        max_new_tokens=saved.max_new_tokens,
        batch_size=_AT_ONCE,
    )


def write_titles(model: PreTrainedModel, tokenizer: Any, pictures: Pictures, names: Sequence[str]) -> list[str]:
    """A title for each picture of these SHA-256 names. Beams draw nothing, so there is no seed to choose."""
    titles = []
    for start in range(0, len(names), _AT_ONCE):
        inputs = {"pixel_values": pictures.tensor([pictures.image(name) for name in names[start : start + _AT_ONCE]])}
        titles += [texts[0] for texts in generate(model, tokenizer, inputs, search_of(model), seed=0)]
    return titles
