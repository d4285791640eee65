"""An untrained Progressive GAN in a folder that looks like a training's output."""

import json
from pathlib import Path

import numpy
import torch

from training.gans.grids import save_picture
from training.progressive import Generator, ProgressiveConfig, save_generator


def write_drawing_model(data: Path, *, grown_px: int = 16, alpha: float = 1.0, channels: int = 3, snapshots: int = 3, **config) -> Path:
    """data/pggan_pages with a 16 px generator, trained as if 30 kimg a phase, and `snapshots` grids of 2 by 1 pictures, one every 40 kimg."""
    folder = data / "pggan_pages"
    folder.mkdir(parents=True)
    torch.manual_seed(4)
    shape = {"resolution": 16, "z_dim": 8, "filters": (8, 8, 8), "channels": channels}
    generator = Generator(ProgressiveConfig(**shape, grown_px=grown_px, alpha=alpha, **config)).requires_grad_(False)
    # Without biases the norm behind the first layer would take the length of z away again. Pictures should be neither flat nor cut off.
    generator.blocks[0].dense.bias.normal_()
    for to_rgb in generator.to_rgb:
        to_rgb.weight.mul_(0.3)
    save_generator(folder, generator)
    rows = []
    for number in range(snapshots):
        name = f"fakes{40 * number:06d}.png"
        save_picture(folder / "snapshots" / name, numpy.full((16, 32, 3), 60 * number, numpy.uint8))
        rows.append({"images": 40_000 * number, "file": name, "metrics": {}})
    layout = {"columns": 2, "rows": 1, "psi": 1.0, "resolution": 16, "seed": 0}
    (folder / "snapshots").mkdir(exist_ok=True)
    (folder / "training_options.json").write_text(json.dumps({"stable_kimg": 30.0, "fade_kimg": 30.0}))
    (folder / "snapshots/index.json").write_text(json.dumps({**layout, "snapshots": rows}))
    return folder
