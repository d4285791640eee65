"""What is kept of a GAN's training while it goes on: every so many kimg a grid of the same pictures, and how good they are; at the end, the output.

Snapshots lie in the training's own folder until it ends, one PNG and one JSON each, named by thousands of images; then the output takes them, and
beside them, for `dvc plots`, corners of a few, named by images.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor

from stages.files import write_file_atomically
from stages.output_folder import OutputFolder
from training.gans.drawing import PictureNetwork, draw_batches
from training.gans.grids import SnapshotIndex, corner, default_grid, evenly, load_picture, save_picture, snapshot_name, tile
from training.gans.image_stream import TrainingImages, uint8_images
from training.gans.options import GanOptions
from training.loop.collapse_guard import CollapseGuard, feature_spread
from training.loop.devices import Devices
from training.loop.job import Workplace
from training.loop.loop import Outcome, Trainable
from training.loop.seeding import generator
from training.loop.stats_files import machine_free
from training.metrics.images import FeatureExtractor, open_extractor, score_images

SPREAD = "spread"
# Pictures of one training side by side in DVC's pages, which take copies of them.
_MOST_SHOWN = 8


class Painter(Protocol):
    """Draws with the weights of one moment."""

    def __call__(self, count: int, purpose: str, *, psi: float) -> numpy.ndarray:
        """uint8 [count, C, R, R]; of the same things at every snapshot for the same `purpose`. psi: truncation, for those who have one."""
        ...


def latent_painter(network: PictureNetwork, z_dim: int, data: TrainingImages, options: GanOptions, *, side_by_side: int | None = None) -> Painter:
    """The painter of a generator of pictures from latent vectors. side_by_side: pictures drawn at once, else as in training."""

    def paint(count: int, purpose: str, *, psi: float) -> numpy.ndarray:
        z, labels = fixed_latents(z_dim, count, data.labels, options.seed, purpose)
        drawn = draw_batches(network, z, labels, psi=psi, batch_size=side_by_side or options.side_by_side)
        return numpy.concatenate([pictures.cpu().numpy() for pictures in drawn])

    return paint


class Snapshots:
    """Takes and keeps the snapshots of one training. A model that is to be measured or shown in another way overrides `measure`, `guard` or `reals`.

    painter: gives the painter of this moment. data: in the computer's own memory. reals_id: of the dataset; features of reals are cached under it.
    """

    def __init__(
        self,
        trainer: Trainable,
        painter: Callable[[], Painter],
        data: TrainingImages,
        options: GanOptions,
        devices: Devices,
        place: Workplace,
        *,
        reals_id: str,
    ) -> None:
        self.trainer, self.painter, self.data, self.options, self.devices, self.place = trainer, painter, data, options, devices, place
        self.reals_id = f"{reals_id} at {data.resolution} px"
        self.columns, self.rows = options.grid or default_grid(data.resolution)
        self.random_features = open_extractor("random", device=devices.device)
        self.extractor: FeatureExtractor = (
            open_extractor(f"inception:{options.inception}", device=devices.device) if options.inception else self.random_features
        )

    def take(self) -> dict[str, float]:
        """Write the grid of this moment and measure it; rank 0 only, the others get {}."""
        if not self.devices.is_main:
            return {}
        options, seen = self.options, self.trainer.samples_seen
        name = snapshot_name(seen, every_images=options.snap_images, total_images=options.plan.total_samples)
        paint = self.painter()
        path = self.place.folder / f"{name}.png"
        # The JSON is written last: a snapshot without one is of a process that died, and will be taken again.
        save_picture(path.with_suffix(".writing.png"), tile(paint(self.columns * self.rows, "grid", psi=options.grid_psi), self.columns))
        path.with_suffix(".writing.png").replace(path)
        values = self.measure(paint)
        row = {"images": seen, "file": path.name, "metrics": values}
        write_file_atomically(path.with_suffix(".json"), (json.dumps(row, sort_keys=True) + "\n").encode())
        self.place.tracker.artifact(path, "snapshots")
        return values

    def guard(self, *, era: str = "") -> CollapseGuard:
        """The guard that judges what `take` measures. era: see CollapseGuard."""
        shown = uint8_images(self.data, self.options.guard_images, self.options.seed)
        distance = "swd_x1000" if "swd" in self.options.metrics else ""
        return CollapseGuard(self.options.guard, spread=SPREAD, distance=distance, real_spread=self.spread(shown), era=era)

    def write(self, output: OutputFolder, outcome: Outcome, facts: Mapping[str, Any]) -> dict[str, float]:
        """Put all but the networks into the output, and return the newest snapshot's metrics. facts: the model's own, for training_options.json."""
        # There may be later ones, of a way that was left or of a process that died.
        index = [row for row in self._taken() if row["images"] <= outcome.samples_seen]
        metrics: dict[str, float] = index[-1]["metrics"] if index else {}
        options = self.options
        layout = SnapshotIndex(self.columns, self.rows, options.grid_psi, self.data.resolution, options.seed, tuple(index))
        for row in index:
            output.file(f"snapshots/{row['file']}").write_bytes((self.place.folder / row["file"]).read_bytes())
        for row in evenly(index, _MOST_SHOWN):
            shown = corner(load_picture(self.place.folder / row["file"]), self.data.resolution)
            save_picture(output.file(f"plots/fakes/{row['images']}.png"), shown)
        output.write_json("snapshots/index.json", asdict(layout))
        save_picture(output.file("reals.png"), tile(self.reals(self.columns * self.rows), self.columns))
        output.write_json("metrics.json", {name: round(value, 6) for name, value in metrics.items()} | {"kimg": outcome.samples_seen / 1000})
        result = {"skipped_steps": outcome.skipped_steps, "rollbacks": outcome.rollbacks, "rollback_reasons": list(outcome.reasons)}
        result |= {"resolution": self.data.resolution, "pictures": len(self.data), "images_seen": outcome.samples_seen, "finished": outcome.finished}
        asked = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
        output.write_json("training_options.json", {**asked, **result, **facts})
        output.file("stats.jsonl").write_bytes(machine_free(self.place.stats))
        return metrics

    def reals(self, count: int) -> numpy.ndarray:
        """Up to `count` pictures of the set, to lie beside fakes: uint8 [N, C, R, R]."""
        return uint8_images(self.data, count, self.options.seed)

    def _taken(self) -> list[dict[str, Any]]:
        """The snapshots so far by rising number of images."""
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in self.place.folder.glob("fakes*.json")]
        return sorted(rows, key=lambda row: (row["images"], row["file"]))

    def measure(self, paint: Painter) -> dict[str, float]:
        """The numbers of this moment, those among them that the guard judges."""
        options = self.options
        wanted = max(options.guard_images, options.metric_images if options.metrics else 0)
        fakes = paint(wanted, "measured", psi=1.0)
        values = {SPREAD: self.spread(fakes[: options.guard_images])}
        if options.metrics:
            values |= score_images(
                fakes[: options.metric_images],
                self.data.images,
                metrics=options.metrics,
                extractor=self.extractor,
                cache_dir=self.place.state / "image_features",
                reals_id=self.reals_id,
                note=self.place.reporter.log,
            )
        return values

    def spread(self, images: numpy.ndarray) -> float:
        """How different the pictures uint8 [N, C, R, R] are, as random features see them."""
        parts = [self.random_features(torch.from_numpy(images[start : start + 64])).cpu() for start in range(0, len(images), 64)]
        return feature_spread(torch.cat(parts))


def fixed_latents(z_dim: int, count: int, labels: Tensor | None, seed: int, purpose: str) -> tuple[Tensor, Tensor | None]:
    """Z [count, z_dim], and as many labels of the set where there are labels, that depend on `seed` and `purpose` alone."""
    random = generator(seed, f"fixed latents: {purpose}")
    z = torch.randn(count, z_dim, generator=random)
    if labels is None:
        return z, None
    return z, labels.cpu()[torch.randint(len(labels), (count,), generator=random)]
