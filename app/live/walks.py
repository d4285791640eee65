"""The tab of walks: a picture GAN draws a seed, a place between two seeds, or the way from one to the other, picture by picture."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import gradio
import numpy

from app.live.inputs import answering, drawing
from app.live.served import Shelf
from training.gans.viewer.controls import read_settings
from training.progressive.view import open_view as open_progressive
from training.stylegan3.view import open_view as open_stylegan3

OPEN: dict[str, Callable[..., Any]] = {"stylegan3_toc": open_stylegan3, "stylegan3_pages": open_stylegan3, "pggan_pages": open_progressive}
STEPS, _LEAST_SHOWN_PX = 24, 256


def draw(shelf: Shelf, model: str, **given: Any) -> numpy.ndarray:
    """uint8 [H, W, 3] at the model's own size. given: seed and, if asked for, toward, blend and psi. Raises what `answering` tells."""
    view = shelf.open(model, lambda folder: OPEN[model](folder, device=shelf.device))
    # A page may send a whole number as 3.0, and a seed is 3.
    picture = view.draw(read_settings(view.controls, {name: re.sub(r"\.0$", "", str(value)) for name, value in given.items()}))
    return picture.repeat(3, axis=2) if picture.shape[2] == 1 else picture


def enlarged(picture: numpy.ndarray) -> numpy.ndarray:
    """Small pictures by whole factors, without smoothing what the machine did not smooth."""
    times = max(1, _LEAST_SHOWN_PX // picture.shape[0])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def walks_tab(shelf: Shelf) -> None:
    with gradio.Row(equal_height=False):
        with gradio.Column():
            model = gradio.Radio(list(OPEN), value="stylegan3_toc", label="Generator")
            seed = gradio.Number(0, precision=0, label="From seed")
            toward = gradio.Number(1, precision=0, label="to seed")
            blend = gradio.Slider(0, 1, 0, step=0.01, label="Place between them")
            psi = gradio.Slider(0, 2, 1, step=0.05, label="Truncation ψ", info="of a Progressive GAN, the scale of the latent")
            one, walk = gradio.Button("Draw"), gradio.Button("Walk", variant="primary")
        shown = drawing("Drawn by the machine", "What the generator drew for these seeds")

    def draw_one(model: str, seed: Any, toward: Any, psi: Any, blend: Any) -> numpy.ndarray:
        return enlarged(draw(shelf, model, seed=seed, toward=toward, psi=psi, blend=blend))

    def draw_walk(model: str, seed: Any, toward: Any, psi: Any) -> Iterator[tuple[numpy.ndarray, float]]:
        for step in range(STEPS + 1):
            yield draw_one(model, seed, toward, psi, step / STEPS), step / STEPS

    settings = [model, seed, toward, psi]
    shared: dict[str, Any] = {"concurrency_id": "models", "show_progress": "hidden"}
    one.click(answering(draw_one), [*settings, blend], shown, api_name="draw", **shared)
    blend.release(answering(draw_one), [*settings, blend], shown, api_visibility="private", **shared)
    walk.click(answering(draw_walk), settings, [shown, blend], api_name="walk", **shared)
