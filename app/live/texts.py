"""The tabs of texts: picture to title, title to abstract, abstract to title; and the writing itself, which a fresh paper uses too."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSeq2SeqLM, VisionEncoderDecoderModel

from app.live.inputs import Upload, answering, picture_of, printed, text_of, whole
from app.live.served import Shelf
from training.words.generation import Generation, generate, tokenize
from training.words.model_folder import load_model, load_tokenizer

TITLER, ABSTRACTS, TITLES = "toc_titler", "abstract_t5", "title_t5"
MOST_TITLE_CHARACTERS, MOST_ABSTRACT_CHARACTERS = 500, 5_000
LIKELIEST, DRAWN = "the likeliest", "drawn by chance"
# As the programs these models come from wrote: beams for titles of pictures, chance for texts.
_WAYS = {
    LIKELIEST: Generation("beam", beams=4, no_repeat_ngram=3, length_penalty=2.0),
    DRAWN: Generation("sample", top_k=5, top_p=0.95, no_repeat_ngram=2, returns=3),
}
# Where the configuration of a model does not say how much it reads and writes.
_TOKENS = 256


def write_titles(shelf: Shelf, picture: Image.Image, *, how: str, seed: int) -> list[str]:
    """Titles for an RGB picture. Raises what `answering` tells."""

    def load(folder: Path) -> tuple[Any, ...]:
        model = load_model(folder, VisionEncoderDecoderModel).to(shelf.device)
        return model, load_tokenizer(folder, model.decoder), AutoImageProcessor.from_pretrained(folder, local_files_only=True)

    model, tokenizer, processor = shelf.open(TITLER, load)
    # A decoder has so many positions and no more, the first of them for the start.
    most = min(64, getattr(model.config.decoder, "n_positions", _TOKENS) - 1)
    return _written(model, tokenizer, {"pixel_values": processor(images=[picture], return_tensors="pt")["pixel_values"]}, how, seed, most)


def write_texts(shelf: Shelf, name: str, text: str, *, how: str, seed: int) -> list[str]:
    """What the T5 `name` makes of `text`. Raises what `answering` tells."""

    def load(folder: Path) -> tuple[Any, ...]:
        model = load_model(folder, AutoModelForSeq2SeqLM).to(shelf.device)
        return model, load_tokenizer(folder, model)

    model, tokenizer = shelf.open(name, load)
    config = model.config
    inputs = tokenize(tokenizer, [(getattr(config, "prefix", None) or "") + text], most_tokens=getattr(config, "source_tokens", _TOKENS)).inputs
    return _written(model, tokenizer, inputs, how, seed, getattr(config, "target_tokens", _TOKENS))


def _written(model: Any, tokenizer: Any, inputs: dict[str, Any], how: str, seed: int, most: int) -> list[str]:
    return generate(model.eval(), tokenizer, inputs, dataclasses.replace(_WAYS.get(how, _WAYS[DRAWN]), max_new_tokens=most), seed=seed)[0]


def captions_tab(shelf: Shelf) -> None:
    """Inside a `gradio.Tab`, as all of these."""

    def write(data: bytes | None, how: str, seed: int) -> str:
        return printed([(title, None) for title in write_titles(shelf, picture_of(data), how=how, seed=seed)])

    sources = ["upload", "clipboard"]
    _tab(
        "caption",
        "Write a title",
        lambda: Upload(label="A picture, as of a table of contents", sources=sources, buttons=[], alt_text="The chosen picture"),
        write,
        LIKELIEST,
    )


def abstracts_tab(shelf: Shelf) -> None:
    def write(text: str, how: str, seed: int) -> str:
        title = text_of(text, "title", most=MOST_TITLE_CHARACTERS)
        return printed([(title, abstract) for abstract in write_texts(shelf, ABSTRACTS, title, how=how, seed=seed)])

    _tab(
        "abstract",
        "Write abstracts",
        lambda: gradio.Textbox(label="A title", placeholder="Light-driven synthesis in water", max_length=MOST_TITLE_CHARACTERS),
        write,
    )


def titles_tab(shelf: Shelf) -> None:
    def write(text: str, how: str, seed: int) -> str:
        abstract = text_of(text, "abstract", most=MOST_ABSTRACT_CHARACTERS)
        return printed([(title, None) for title in write_texts(shelf, TITLES, abstract, how=how, seed=seed)])

    _tab("title", "Write titles", lambda: gradio.Textbox(label="An abstract", lines=8, max_length=MOST_ABSTRACT_CHARACTERS), write)


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
