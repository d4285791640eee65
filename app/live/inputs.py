"""What a page may send, bounded and refused in words; and what it is answered: made-up papers as HTML, or why there is nothing to show."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import isgenerator
from pathlib import Path
from typing import Any

import gradio
import numpy

from app.live.served import NotServedError
from formats.pictures import DecodeLimits, Undecodable, decode
from training.fine_tuning.examples import TuningError
from training.fine_tuning.generation import GenerationError
from training.gans.viewer.controls import SettingsError
from training.polymers.conditions import MoleculeModelError
from training.polymers.smiles_tokenizer import SmilesTokenizerError
from training.progressive.generator import ProgressiveError
from training.stylegan3.generator import StyleGAN3Error
from training.words.imaginary.filters import blocked_word, personal_data
from training.words.imaginary.safety import UnfitTextError, make_safe
from training.words.imaginary.tables import ImaginaryError

MOST_PICTURE_BYTES = 8 * 2**20
_PICTURES = DecodeLimits(max_bytes=MOST_PICTURE_BYTES, max_pixels=16_000_000, max_frames=50, min_side_px=16)


WAITING = '<p class="waiting">What the machine writes will stand here.</p>'


class RefusedError(ValueError):
    """Something that cannot be worked with; the message says what was found and what is expected."""


_MODELS = (GenerationError, ImaginaryError, MoleculeModelError, ProgressiveError, SmilesTokenizerError, StyleGAN3Error, TuningError)
_TOLD = (RefusedError, NotServedError, SettingsError, UnfitTextError, OSError, *_MODELS)


def upload(label: str) -> gradio.Image:
    """A picture that is sent, as its bytes, or None. Gradio's own way decodes a file of any size, and fetches one that is given by an address."""
    picture = gradio.Image(label=label, sources=["upload", "clipboard"], buttons=[], alt_text="The chosen picture", render=False)
    keep = picture.async_move_resource_to_block_cache

    async def keep_file(place: Any) -> str | None:
        if str(place).casefold().startswith(("http:", "https:")):
            raise gradio.Error("a picture is sent as a file, not as an address", print_exception=False)
        return str(await keep(place))

    # On this one object: for a class of our own, gradio would write a file of types beside this one.
    picture.async_move_resource_to_block_cache = keep_file
    picture.preprocess = lambda payload: None if payload is None or payload.path is None else Path(payload.path).read_bytes()
    return picture


def drawing(label: str, alt_text: str) -> gradio.Image:
    """A picture as an answer. Gradio's button to share it would send it to another machine."""
    return gradio.Image(label=label, format="png", interactive=False, alt_text=alt_text, buttons=["download", "fullscreen"], show_label=False)


def text_of(text: str | None, *, what: str, most: int) -> str:
    """`text` made safe. Raises RefusedError for none and for more than `most` characters, UnfitTextError for mixed scripts."""
    if len(text or "") > most:
        raise RefusedError(f"the {what} has {len(text or ''):,} characters, at most {most:,} are allowed")
    if not (words := make_safe(text or "")):
        raise RefusedError(f"the {what} is empty")
    return words


def picture_of(data: bytes | None) -> numpy.ndarray:
    """uint8 [3, H, W]. Raises RefusedError."""
    try:
        return decode(data or b"", limits=_PICTURES).pixels.transpose(2, 0, 1)
    except Undecodable as error:
        raise RefusedError(f"this picture cannot be used: {error.words}") from None


def whole(value: float | None, what: str, *, least: int = 0, most: int = 2**32 - 1) -> int:
    if value is None or not least <= value <= most or value != int(value):
        raise RefusedError(f"{what} must be a whole number from {least:,} to {most:,}, found {value}")
    return int(value)


def answering(function: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    """What a button does, with what is expected to go wrong told as words on the page. A generator answers several times."""

    def answer(*arguments: Any) -> Iterator[Any]:
        try:
            found = function(*arguments)
            yield from found if isgenerator(found) else (found,)
        except _TOLD as error:
            raise gradio.Error(html.escape(str(error), quote=False), duration=None, print_exception=False) from None

    return answer


def printed(papers: Sequence[tuple[str, str | None]], facts: Mapping[str, str] | None = None) -> str:
    """HTML of (title, abstract or None) as a model wrote them, made safe and escaped. facts: by name, below them."""
    articles = "".join(f"<h2>{_shown(title)}</h2>{'' if abstract is None else f'<p>{_shown(abstract)}</p>'}" for title, abstract in papers)
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in (facts or {}).items())
    return f'<article class="paper">{articles}<dl>{rows}</dl><p class="stamp">Made up by a machine: this does not exist.</p></article>'


def _shown(text: str) -> str:
    try:
        safe, why = make_safe(text), blocked_word(text) or personal_data(text)
    except UnfitTextError as error:
        safe, why = "", (str(error), "")
    return f"<em>words that are not shown: {html.escape(why[0])}</em>" if why else html.escape(safe) or "<em>no words</em>"
