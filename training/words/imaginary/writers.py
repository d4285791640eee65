"""The two models that write: pictures to titles, titles to abstracts. Plain transformers, from the folders of toc_titler and abstract_t5."""

from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from transformers import AutoImageProcessor, AutoModelForSeq2SeqLM, VisionEncoderDecoderModel

from training.words.generation import Generation, generate, tokenize
from training.words.model_folder import load_model, load_tokenizer

# Of a title that is read, where the model's configuration names no other bound.
_SOURCE_TOKENS = 128


class Titler:
    """Titles for pictures, uint8 [C, H, W] with C = 1 or 3 and any size. The text for picture i is number first + i of `seed`."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model, self._tokenizer = load_model(folder, VisionEncoderDecoderModel).to(device), load_tokenizer(folder)
        self._processor = AutoImageProcessor.from_pretrained(str(folder), backend="pil")

    def __call__(self, pictures: Sequence[numpy.ndarray], settings: Generation, *, seed: int, first: int) -> list[str]:
        colours = [numpy.repeat(picture, 3 // len(picture), axis=0).transpose(1, 2, 0) for picture in pictures]
        inputs = {"pixel_values": self._processor(images=colours, return_tensors="pt")["pixel_values"]}
        return [texts[0] for texts in generate(self._model, self._tokenizer, inputs, settings, seed=seed, first=first)]


class Abstracter:
    """Abstracts for titles, likewise."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model = load_model(folder, AutoModelForSeq2SeqLM).to(device)
        self._tokenizer = load_tokenizer(folder, self._model)

    def __call__(self, titles: Sequence[str], settings: Generation, *, seed: int, first: int) -> list[str]:
        config = self._model.config
        shown = [(getattr(config, "prefix", None) or "") + title for title in titles]
        prompts = tokenize(self._tokenizer, shown, most_tokens=getattr(config, "source_tokens", _SOURCE_TOKENS))
        return [texts[0] for texts in generate(self._model, self._tokenizer, prompts.inputs, settings, seed=seed, first=first)]
