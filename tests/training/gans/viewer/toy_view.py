"""A model that draws its settings: a grey picture as light as `psi`, and a layer whose channels are their numbers."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy

from training.gans.viewer.controls import Seed, Slider, Subset
from training.gans.viewer.model import ViewedLayer


class ToyView:
    name = "toy"
    facts = ("4 px",)
    controls = (
        Seed("seed", "Seed", "Latent", 3),
        Slider("psi", "Truncation", "Latent", -1, 2, 0.01, 1.0),
        Slider("cutoff", "Layers", "Latent", 0, 6, 1, 6, is_whole=True),
        Subset("mix", "Mixed", "Styles", ("in", "L0", "L1")),
    )
    layers = (ViewedLayer("in", 70, 4),)

    def __init__(self) -> None:
        self.drawn: list[Mapping[str, Any]] = []
        self.threads: set[int] = set()
        self.is_free = threading.Event()
        self.is_free.set()
        self.has_begun = threading.Event()

    def draw(self, settings: Mapping[str, Any], /) -> numpy.ndarray:
        self.threads.add(threading.get_ident())
        self.has_begun.set()
        assert self.is_free.wait(30)
        self.drawn.append(settings)
        if settings["seed"] == 666:
            raise RuntimeError("out of\nmemory")
        return numpy.full((4, 4, 1), round(100 * settings["psi"]) % 256, numpy.uint8)

    def activations(self, settings: Mapping[str, Any], layer: int, /) -> numpy.ndarray:
        return numpy.broadcast_to(numpy.arange(-35, 35, dtype=numpy.float32)[:, None, None], (70, 4, 4)).copy()
