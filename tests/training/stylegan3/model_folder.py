"""An untrained StyleGAN3 in a folder that looks like a training's output."""

import json
from pathlib import Path

import numpy
import torch

from training.gans.grids import save_picture
from training.stylegan3 import Generator, StyleGAN3Config, save_generator


def write_model(data: Path, *, label_dim: int = 0, snapshots: int = 3) -> Path:
    """data/stylegan3_toc with a 16 px generator and `snapshots` grids of 2 by 1 pictures."""
    folder = data / "stylegan3_toc"
    folder.mkdir(parents=True)
    torch.manual_seed(4)
    config = StyleGAN3Config(
        resolution=16, cbase=64, cmax=8, z_dim=8, w_dim=8, num_layers=4, num_critical=1, margin=2, label_dim=label_dim, precision="float32"
    )
    generator = Generator(config).requires_grad_(False)
    generator.mapping.w_avg += 0.002 * generator.mapping(
        torch.randn(64, 8), torch.eye(label_dim)[torch.arange(64) % label_dim] if label_dim else None
    ).mean(dim=(0, 1))
    # What it draws should be light and dark, not all grey.
    for layer in generator.synthesis.layers():
        last = layer
    last.weight.mul_(12)
    save_generator(folder, generator)
    rows = []
    for number in range(snapshots):
        name = f"fakes{40 * number:06d}.png"
        save_picture(folder / "snapshots" / name, numpy.full((16, 32, 3), 60 * number, numpy.uint8))
        rows.append({"images": 40_000 * number, "file": name, "metrics": {}})
    layout = {"columns": 2, "rows": 1, "psi": 1.0, "resolution": 16, "seed": 0}
    (folder / "snapshots").mkdir(exist_ok=True)
    (folder / "snapshots/index.json").write_text(json.dumps({**layout, "snapshots": rows}))
    return folder
