"""What is seen of a CycleGAN while it trains: the same pictures there and back, and how far its translations are from what they should be."""

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
        self._untouched: dict[str, dict[str, float]] = {}

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
        shown = {name: uint8_images(pictures, wanted, options.seed) for name, pictures in self.domains.test.items()}
        for a, b in WAYS:
            made, _, cycle_l1 = self.there_and_back(a, shown[a])
            values |= {f"{CYCLE}_{a.lower()}": cycle_l1, f"identity_l1_{a.lower()}": self.identity_l1(a, shown[b])}
            spreads.append(self.spread(made[: options.guard_images]) / max(1e-9, self.spread(shown[b][: options.guard_images])))
            values |= self._scores(made, a, b, "")
            # These stay the same from snapshot to snapshot.
            if a not in self._untouched:
                self._untouched[a] = self._scores(shown[a], a, b, "_untouched")
            values |= self._untouched[a]
        return {**values, CYCLE: (values[f"{CYCLE}_a"] + values[f"{CYCLE}_b"]) / 2, SPREAD: min(spreads)}

    @torch.no_grad()
    def there_and_back(self, a: str, sources: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray, float]:
        """What becomes of pictures uint8 [N, C, R, R] of domain `a` in the other, what of that back in `a`, and how far that is from the sources."""
        there, back = self.generators[a], self.generators["B" if a == "A" else "A"]
        made, returned, distance = [], [], 0.0
        for pictures in self._batches(sources):
            fakes = there(pictures)
            cycled = back(fakes)
            distance += _distances(cycled, pictures)
            made.append(to_uint8(fakes).cpu().numpy())
            returned.append(to_uint8(cycled).cpu().numpy())
        return numpy.concatenate(made), numpy.concatenate(returned), distance / len(sources)

    @torch.no_grad()
    def identity_l1(self, a: str, already: numpy.ndarray) -> float:
        """How far the generator from domain `a` moves pictures of the other domain."""
        return sum(_distances(self.generators[a](pictures), pictures) for pictures in self._batches(already)) / len(already)

    def _painter(self) -> Painter:
        def paint(count: int, purpose: str, *, psi: float) -> numpy.ndarray:
            del purpose, psi
            cells: list[numpy.ndarray] = []
            for a in "AB":
                sources = uint8_images(self.domains.test[a], count // CELLS_OF_A_PAIR, self.options.seed)
                cells += [sources, *self.there_and_back(a, sources)[:2]]
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


def _distances(pictures: Tensor, others: Tensor) -> float:
    """Mean distances of the numbers of a picture from those of another, summed over pairs [N, C, R, R] of them."""
    return float((pictures - others).abs().mean(dim=(1, 2, 3)).sum())
