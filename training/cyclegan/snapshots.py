"""What is seen of a CycleGAN while it trains: the same pictures there and back, and how far its translations are from what they should be."""

from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from training.cyclegan.domains import Domains, float_pictures
from training.cyclegan.generator import Generators
from training.cyclegan.losses import WAYS
from training.cyclegan.options import CELLS_OF_A_PAIR, CycleGANOptions
from training.gans.grids import to_uint8
from training.gans.image_stream import uint8_images
from training.gans.snapshots import SPREAD, Painter, Snapshots
from training.loop.collapse_guard import CollapseGuard
from training.loop.devices import Devices
from training.loop.job import Workplace
from training.loop.loop import Trainable
from training.metrics.images import score_images

CYCLE = "cycle_l1"


@dataclass(frozen=True)
class Translated:
    """made, back: uint8 [N, C, R, R]. cycle_l1, identity_l1: mean distances in [-1, 1]: of `back` from where it began, of what was there already."""

    made: numpy.ndarray
    back: numpy.ndarray
    cycle_l1: float
    identity_l1: float


class CycleSnapshots(Snapshots):
    """Each row of a grid: a picture of A, what G_A makes of it, what G_B makes of that; then the same from B. From the test sets."""

    def __init__(
        self,
        trainer: Trainable,
        generators: Generators,
        domains: Domains,
        options: CycleGANOptions,
        devices: Devices,
        place: Workplace,
        reals_id: str,
    ) -> None:
        super().__init__(trainer, self._painter, domains.test["B"], options, devices, place, reals_id=reals_id)
        self.generators, self.domains = {"A": generators.a_to_b, "B": generators.b_to_a}, domains
        self._untouched: dict[str, float] | None = None

    def reals(self, count: int) -> numpy.ndarray:
        """Half of them of each domain, in turns."""
        pairs = zip(*(uint8_images(self.domains.train[name], count // 2, self.options.seed) for name in "AB"), strict=False)
        return numpy.stack([picture for pair in pairs for picture in pair])

    def guard(self, *, era: str = "") -> CollapseGuard:
        """Translations all alike, or pictures that come back ever less like what they were.

        Signs are not judged: with least squares, a discriminator that knows its reals from fakes still teaches.
        """
        return CollapseGuard(self.options.guard, spread=SPREAD, distance=CYCLE, real_spread=1.0, era=era)

    def measure(self, paint: Painter) -> dict[str, float]:
        """For each generator, such as G_A: cycle_l1_a (there and back from A), identity_l1_a (of pictures that are of B already), and what `metrics`
        names, of translated test pictures beside the training pictures of what they should look like; *_untouched: of pictures not translated.

        spread: of the translations over that of the reals, the smaller of both ways; it and cycle_l1, the mean of both ways, are what is guarded.
        """
        del paint
        options, spreads = self.options, []
        values: dict[str, float] = {}
        wanted = max(options.guard_images, options.metric_images if options.metrics else 0)
        for a, b in WAYS:
            sources, reals = (uint8_images(self.domains.test[name], wanted, options.seed) for name in (a, b))
            there = self.translated(a, sources, reals)
            values |= {f"{CYCLE}_{a.lower()}": there.cycle_l1, f"identity_l1_{a.lower()}": there.identity_l1}
            spreads.append(self.spread(there.made[: options.guard_images]) / max(1e-9, self.spread(reals[: options.guard_images])))
            values |= self._scores(there.made, a, b, "")
        if self._untouched is None:
            self._untouched = {}
            for a, b in WAYS:
                self._untouched |= self._scores(uint8_images(self.domains.test[a], wanted, options.seed), a, b, "_untouched")
        cycle = (values[f"{CYCLE}_a"] + values[f"{CYCLE}_b"]) / 2
        return {**values, **self._untouched, CYCLE: cycle, SPREAD: min(spreads)}

    @torch.no_grad()
    def translated(self, way: str, sources: numpy.ndarray, already: numpy.ndarray) -> Translated:
        """What the generator from domain `way` makes of pictures uint8 [N, C, R, R] of it, and of ones that are of the other domain already."""
        there, back = self.generators[way], self.generators["B" if way == "A" else "A"]
        made, returned, distances = [], [], {"cycle": 0.0, "identity": 0.0}
        for pictures in self._batches(sources):
            fakes = there(pictures)
            cycled = back(fakes)
            distances["cycle"] += float((cycled - pictures).abs().mean(dim=(1, 2, 3)).sum())
            made.append(to_uint8(fakes).cpu().numpy())
            returned.append(to_uint8(cycled).cpu().numpy())
        for pictures in self._batches(already):
            distances["identity"] += float((there(pictures) - pictures).abs().mean(dim=(1, 2, 3)).sum())
        return Translated(
            numpy.concatenate(made), numpy.concatenate(returned), distances["cycle"] / len(sources), distances["identity"] / len(already)
        )

    def _painter(self) -> Painter:
        def paint(count: int, purpose: str, *, psi: float) -> numpy.ndarray:
            del purpose, psi
            cells: list[numpy.ndarray] = []
            for a in "AB":
                sources = uint8_images(self.domains.test[a], count // CELLS_OF_A_PAIR, self.options.seed)
                there = self.translated(a, sources, sources[:1])
                cells += [sources, there.made, there.back]
            rows = min(map(len, cells))
            return numpy.stack([cell[:rows] for cell in cells], axis=1).reshape(rows * CELLS_OF_A_PAIR, *cells[0].shape[1:])

        return paint

    def _batches(self, images: numpy.ndarray) -> list[Tensor]:
        return [float_pictures(part, self.devices.device) for part in torch.from_numpy(images).split(self.options.side_by_side)]

    def _scores(self, made: numpy.ndarray, a: str, b: str, suffix: str) -> dict[str, float]:
        if not self.options.metrics:
            return {}
        scores = score_images(
            made[: self.options.metric_images],
            self.domains.train[b].images,
            metrics=self.options.metrics,
            extractor=self.extractor,
            cache_dir=self.place.state / "image_features",
            reals_id=f"{self.reals_id} train{b} of {self.domains.channels} channels",
            note=self.place.reporter.log,
        )
        return {f"{name}_{a.lower()}_to_{b.lower()}{suffix}": value for name, value in scores.items()}
