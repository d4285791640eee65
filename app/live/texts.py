"""The tabs of texts: picture to title, title to abstract, abstract to title; and the writing itself, which a fresh paper uses too."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio
from transformers import GenerationConfig

from app.live.inputs import WAITING, answering, picture_of, printed, text_of, upload, whole
from app.live.served import Shelf
from training.fine_tuning.generation import Generation
from training.words.imaginary.compose import Abstracter, Titler

TITLER, ABSTRACTS, TITLES = "toc_titler", "abstract_t5", "title_t5"
# What stands in the boxes at first, so that a click is enough; ours, of no paper.
_TITLE = "Light-driven synthesis of porous frameworks in water"
_ABSTRACT = "Here we report a copper catalyst that reduces carbon dioxide under visible light. It works in water and is stable for a hundred hours."
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
    saved = GenerationConfig.from_pretrained(folder)  # A writer may write as much as it was trained to.
    return kind(folder, device), saved.max_new_tokens or (saved.max_length or 65) - 1


def captions_tab(shelf: Shelf) -> None:
    _tab(shelf, TITLER, "caption", upload("A picture, as of a table of contents"), picture_of, LIKELIEST)


def abstracts_tab(shelf: Shelf) -> None:
    _tab(
        shelf, ABSTRACTS, "abstract", gradio.Textbox(_TITLE, label="A title", max_length=500, render=False), partial(text_of, what="title", most=500)
    )


def titles_tab(shelf: Shelf) -> None:
    sent = gradio.Textbox(_ABSTRACT, label="An abstract", lines=8, max_length=5000, render=False)
    _tab(shelf, TITLES, "title", sent, partial(text_of, what="abstract", most=5000))


def _tab(shelf: Shelf, model: str, name: str, sent: Any, read: Callable[[Any], Any], usual: str = DRAWN) -> None:
    """What is sent on the left, what comes of it on the right. name: of what is written. read: what is sent as the model takes it."""
    with gradio.Row(equal_height=False):
        with gradio.Column():
            sent.render()
            how = gradio.Radio(list(_WAYS), value=usual, label="Words")
            seed = gradio.Number(0, precision=0, label="Seed", info="the same seed draws the same words")
            button = gradio.Button("Write", variant="primary")
        result = gradio.HTML(WAITING)

    def answer(sent: Any, how: str, seed: Any) -> str:
        given = read(sent)
        written = write(shelf, model, given, how=how, seed=whole(seed, "the seed"))
        return printed([(given, text) if name == "abstract" else (text, None) for text in written])

    button.click(answering(answer), [sent, how, seed], result, api_name=name, concurrency_id="models")
