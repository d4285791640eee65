"""The tabs of texts: picture to title, title to abstract, abstract to title; and the writing itself, which a fresh paper uses too."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio
import torch
from transformers import GenerationConfig

from app.live.inputs import answering, picture_of, printed, text_of, upload, whole
from app.live.served import Shelf
from training.words.generation import Generation
from training.words.imaginary.writers import Abstracter, Titler

TITLER, ABSTRACTS, TITLES = "toc_titler", "abstract_t5", "title_t5"
MOST_TITLE_CHARACTERS, MOST_ABSTRACT_CHARACTERS = 500, 5_000
LIKELIEST, DRAWN = "the likeliest", "drawn by chance"
# As the programs these models come from wrote: beams for titles of pictures, chance for texts, of which there are as many as this.
_WAYS = {
    LIKELIEST: (Generation("beam", beams=4, no_repeat_ngram=3, length_penalty=2.0), 1),
    DRAWN: (Generation("sample", top_k=5, top_p=0.95, no_repeat_ngram=2), 3),
}


def write(shelf: Shelf, model: str, given: Any, *, how: str, seed: int) -> list[str]:
    """Texts by `model` for a text, or for a picture [C, H, W]. Raises what `answering` tells."""
    writer, most = shelf.open(model, partial(_load, kind=Titler if model == TITLER else Abstracter, device=shelf.device))
    settings, number = _WAYS.get(how, _WAYS[DRAWN])
    return writer([given] * number, replace(settings, max_new_tokens=most), seed=seed, first=0)


def _load(folder: Path, *, kind: Callable[..., Any], device: Any) -> tuple[Any, int]:
    """The writer, and how many tokens it may write: as many as it was trained to."""
    saved = GenerationConfig.from_pretrained(folder)
    return kind(folder, torch.device(device)), saved.max_new_tokens or (saved.max_length or 65) - 1


def captions_tab(shelf: Shelf) -> None:
    """Inside a `gradio.Tab`, as all of these."""

    def answer(data: bytes | None, how: str, seed: int) -> str:
        return printed([(title, None) for title in write(shelf, TITLER, picture_of(data), how=how, seed=seed)])

    _tab("caption", "Write a title", lambda: upload("A picture, as of a table of contents"), answer, LIKELIEST)


def abstracts_tab(shelf: Shelf) -> None:
    def answer(text: str, how: str, seed: int) -> str:
        title = text_of(text, "title", most=MOST_TITLE_CHARACTERS)
        return printed([(title, abstract) for abstract in write(shelf, ABSTRACTS, title, how=how, seed=seed)])

    _tab("abstract", "Write abstracts", lambda: gradio.Textbox(label="A title", max_length=MOST_TITLE_CHARACTERS), answer)


def titles_tab(shelf: Shelf) -> None:
    def answer(text: str, how: str, seed: int) -> str:
        abstract = text_of(text, "abstract", most=MOST_ABSTRACT_CHARACTERS)
        return printed([(title, None) for title in write(shelf, TITLES, abstract, how=how, seed=seed)])

    _tab("title", "Write titles", lambda: gradio.Textbox(label="An abstract", lines=8, max_length=MOST_ABSTRACT_CHARACTERS), answer)


def _tab(name: str, verb: str, make_input: Callable[[], Any], write: Callable[[Any, str, int], str], usual: str = DRAWN) -> None:
    """What is sent on the left, what comes of it on the right. name: of the program's interface."""
    with gradio.Row(equal_height=False):
        with gradio.Column():
            sent = make_input()
            how = gradio.Radio(list(_WAYS), value=usual, label="Words")
            seed = gradio.Number(0, precision=0, label="Seed", info="the same seed draws the same words")
            button = gradio.Button(verb, variant="primary")
        result = gradio.HTML()
    answer = answering(lambda sent, how, seed: write(sent, how, whole(seed, "the seed")))
    button.click(answer, [sent, how, seed], result, api_name=name, concurrency_id="models")
