"""Style vectors to draw with: by seed, as users know them, at random, or from a file; and pictures drawn from them."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy
import torch
from torch import Tensor
from torch.nn import functional as F

from training.gans.drawing import class_label
from training.gans.grids import to_uint8
from training.gans.seed_ranges import latents
from training.loop.seeding import generator as seeded
from training.stylegan3.generator import Generator, StyleGAN3Error


@torch.no_grad()
def seed_styles(generator: Generator, seeds: Sequence[int], *, psi: float = 1.0, cutoff: int | None = None, class_index: int | None = None) -> Tensor:
    """Style vectors [len(seeds), num_ws, w_dim], on the generator's device. Raises DrawingError when the class does not fit the model.

    psi: how far from their mean the first `cutoff` of them are; None = all.
    """
    label, device = class_label(generator.config.label_dim, class_index), generator.mapping.w_avg.device
    c = None if label is None else label.to(device).expand(len(seeds), -1)
    return generator.mapping(latents(seeds, generator.config.z_dim).to(device), c, truncation_psi=psi, truncation_cutoff=cutoff)


@torch.no_grad()
def random_styles(generator: Generator, count: int, *purpose: int | str, batch: int, classes: Tensor | None = None) -> Iterator[Tensor]:
    """Style vectors [b, num_ws, w_dim] of `count` random latents, up to `batch` at a time, that depend on `purpose` alone.

    classes: [count], of a conditional model; None = random ones.
    """
    config, device = generator.config, generator.mapping.w_avg.device
    z = torch.randn(count, config.z_dim, generator=seeded("styles", *purpose))
    labels = None
    if config.label_dim:
        labels = F.one_hot(random_classes(generator, count, *purpose) if classes is None else classes, config.label_dim).float()
    for start in range(0, count, batch):
        rows = slice(start, start + batch)
        yield generator.mapping(z[rows].to(device), None if labels is None else labels[rows].to(device))


def random_classes(generator: Generator, count: int, *purpose: int | str) -> Tensor:
    """[count], each class as likely as any other; zeros for a model without labels."""
    return torch.randint(max(generator.config.label_dim, 1), (count,), generator=seeded("classes", *purpose))


def write_styles(path: Path, ws: Tensor) -> None:
    """An npz with the one array `w` [N, num_ws, w_dim] float32: the file that users of StyleGAN call projected_w.npz."""
    with path.open("wb") as stream:
        numpy.savez(stream, w=ws.cpu().numpy())


def read_styles(path: Path, generator: Generator) -> Tensor:
    """`w` [N, num_ws, w_dim] of such a file, on the generator's device. Raises StyleGAN3Error."""
    expected = f"an npz with the array w [N, {generator.config.num_ws}, {generator.config.w_dim}], as training.stylegan3.project writes it"
    try:
        with path.open("rb") as stream, numpy.load(stream, allow_pickle=False) as parts:
            w = parts["w"]
    except FileNotFoundError:
        raise StyleGAN3Error(f"{path}: no such file; expected {expected}") from None
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise StyleGAN3Error(f"{path}: cannot be read ({error}); expected {expected}") from None
    if w.ndim != 3 or w.shape[1:] != (generator.config.num_ws, generator.config.w_dim) or not numpy.isfinite(w).all():
        raise StyleGAN3Error(f"{path}: w is {w.dtype} {list(w.shape)}; expected {expected}: was it made with another network?")
    return torch.from_numpy(w.astype(numpy.float32)).to(generator.mapping.w_avg.device)


@torch.no_grad()
def draw_styles(generator: Generator, ws: Tensor, *, batch: int) -> Iterator[numpy.ndarray]:
    """Pictures uint8 [C, R, R], one for each of ws [N, num_ws, w_dim]."""
    for some in ws.split(batch):
        yield from to_uint8(generator.synthesis(some)).cpu().numpy()
