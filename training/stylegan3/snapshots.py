"""What is kept of a training while it goes on: every so many kimg a grid of the same latent vectors, and how good the images are.

Snapshots lie beside the checkpoints until the training ends, one PNG and one JSON each, named by thousands of images; then the output takes them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from stages.files import replacing, write_file_atomically
from stages.output_folder import OutputFolder
from training.gans.grids import default_grid, save_picture, tile, to_uint8
from training.gans.image_stream import TrainingImages, uint8_images
from training.loop.collapse_guard import CollapseGuard, feature_spread
from training.loop.seeding import generator
from training.metrics.images import FeatureExtractor, open_extractor, score_images
from training.stylegan3.gan import GanTrainer
from training.stylegan3.generator import Generator

SPREAD = "spread"


class Snapshots:
    """Takes and keeps the snapshots of one training.

    keep: told of every grid that was written, to keep it elsewhere too. reals_id: of the dataset, under which features of the reals are cached.
    """

    def __init__(
        self,
        folder: Path,
        trainer: GanTrainer,
        reals: numpy.ndarray,
        *,
        reals_id: str,
        cache_dir: Path,
        keep: Callable[[Path], None],
        note: Callable[[str], None],
    ) -> None:
        self.folder, self.trainer, self.reals = folder, trainer, reals
        self.reals_id, self.cache_dir, self.keep, self.note = reals_id, cache_dir, keep, note
        options, data = trainer.options, trainer.data
        self.columns, self.rows = options.grid or default_grid(data.resolution)
        device = trainer.devices.device
        self.random_features = open_extractor("random", device=device)
        self.extractor: FeatureExtractor = (
            open_extractor(f"inception:{options.inception}", device=device) if options.inception else self.random_features
        )

    def take(self) -> dict[str, float]:
        """Write the grid of this moment and measure it; rank 0 only, the others get {}."""
        trainer, options = self.trainer, self.trainer.options
        if not trainer.devices.is_main:
            return {}
        name = snapshot_name(trainer.samples_seen, every_images=options.snap_images, batch=options.batch, total_images=options.total_images)
        averaged = trainer.averaged_generator()
        grid = self._pictures(averaged, self.columns * self.rows, "grid", psi=options.grid_psi)
        picture = tile(grid, self.columns)
        path = self.folder / f"{name}.png"
        with replacing(path) as temporary:
            save_picture(temporary, picture)
        values = self._measure(averaged)
        row = {"images": trainer.samples_seen, "file": path.name, "metrics": values}
        write_file_atomically(path.with_suffix(".json"), (json.dumps(row, sort_keys=True) + "\n").encode())
        self.keep(path)
        return values

    def guard(self) -> CollapseGuard:
        """The guard that judges what `take` measures."""
        options = self.trainer.options
        shown = uint8_images(self.trainer.data, options.guard_images, options.seed)
        distance = "swd_x1000" if "swd" in options.metrics else ""
        return CollapseGuard(options.guard, spread=SPREAD, distance=distance, real_spread=self._spread(shown))

    def write(self, output: OutputFolder, images: int) -> list[dict[str, Any]]:
        """Put the snapshots up to `images` images into the output, with index.json and reals.png. Returns the index."""
        index = [row for row in self.taken() if row["images"] <= images]
        for row in index:
            output.file(f"snapshots/{row['file']}").write_bytes((self.folder / row["file"]).read_bytes())
        options = self.trainer.options
        layout = {
            "columns": self.columns,
            "rows": self.rows,
            "psi": options.grid_psi,
            "resolution": self.trainer.data.resolution,
            "seed": options.seed,
        }
        output.write_json("snapshots/index.json", {**layout, "snapshots": index})
        reals = uint8_images(self.trainer.data, self.columns * self.rows, options.seed)
        save_picture(output.file("reals.png"), tile(reals, self.columns))
        return index

    def taken(self) -> list[dict[str, Any]]:
        """The snapshots so far by rising number of images."""
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in self.folder.glob("fakes*.json")]
        return sorted(rows, key=lambda row: (row["images"], row["file"]))

    def _measure(self, averaged: Generator) -> dict[str, float]:
        options = self.trainer.options
        wanted = max(options.guard_images, options.metric_images if options.metrics else 0)
        fakes = self._pictures(averaged, wanted, "measured", psi=1.0)
        values = {SPREAD: self._spread(fakes[: options.guard_images])}
        if options.metrics:
            values |= score_images(
                fakes[: options.metric_images],
                self.reals,
                metrics=options.metrics,
                extractor=self.extractor,
                cache_dir=self.cache_dir,
                reals_id=self.reals_id,
                note=self.note,
            )
        return values

    def _spread(self, images: numpy.ndarray) -> float:
        parts = [self.random_features(torch.from_numpy(images[start : start + 64])).cpu() for start in range(0, len(images), 64)]
        return feature_spread(torch.cat(parts))

    def _pictures(self, averaged: Generator, count: int, purpose: str, *, psi: float) -> numpy.ndarray:
        """uint8 [count, C, R, R] of the latent vectors that belong to `purpose`: the same at every snapshot."""
        trainer = self.trainer
        z, labels = fixed_latents(trainer.generator.config.z_dim, count, trainer.data, trainer.options.seed, purpose)
        parts = [pictures.cpu().numpy() for pictures in generate(averaged, z, labels, psi=psi, batch=trainer.options.side_by_side)]
        return numpy.concatenate(parts)


@dataclass(frozen=True)
class SnapshotIndex:
    """What snapshots/index.json of a trained model says."""

    columns: int
    rows: int
    psi: float
    resolution: int
    seed: int
    snapshots: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> "SnapshotIndex":
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "snapshots": tuple(values["snapshots"])})


def snapshot_name(images: int, *, every_images: int, batch: int, total_images: int) -> str:
    """fakes000040 for the snapshot due at 40 kimg. A cadence or an end that is no whole kimg puts thousandths behind: fakes000002_500.

    An iteration steps over the exact multiple of `every_images`, and the name is that of the multiple. Further on than an iteration it is the end of
    the training, which is named after the budget.
    """
    due = images - images % every_images
    if images - due >= batch:
        due = total_images
    kimg, rest = divmod(due, 1000)
    return f"fakes{kimg:06d}" + (f"_{rest:03d}" if rest else "")


def fixed_latents(z_dim: int, count: int, data: TrainingImages, seed: int, purpose: str) -> tuple[Tensor, Tensor | None]:
    """Z [count, z_dim] and labels that depend on `seed` and `purpose` alone."""
    random = generator(seed, f"fixed latents: {purpose}")
    z = torch.randn(count, z_dim, generator=random)
    if data.labels is None:
        return z, None
    return z, data.labels.cpu()[torch.randint(len(data.labels), (count,), generator=random)]


@torch.no_grad()
def generate(network: Generator, z: Tensor, labels: Tensor | None, *, psi: float, batch: int) -> Iterator[Tensor]:
    """uint8 [b, C, R, R] for up to `batch` rows of z at a time."""
    device = next(network.parameters()).device
    for start in range(0, len(z), batch):
        rows = slice(start, start + batch)
        yield to_uint8(network(z[rows].to(device), None if labels is None else labels[rows].to(device), truncation_psi=psi))
