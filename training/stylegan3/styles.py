"""Style vectors to draw with: by seed, as users know them, or at random."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.gans.drawing import class_label
from training.gans.seed_ranges import latents
from training.loop.seeding import generator as seeded
from training.stylegan3.generator import Generator


@torch.no_grad()
def seed_styles(generator: Generator, seeds: Sequence[int], *, psi: float = 1.0, class_index: int | None = None) -> Tensor:
    """Style vectors [len(seeds), num_ws, w_dim], on the generator's device. Raises DrawingError when the class does not fit the model."""
    label, device = class_label(generator.config.label_dim, class_index), generator.mapping.w_avg.device
    c = None if label is None else label.to(device).expand(len(seeds), -1)
    return generator.mapping(latents(seeds, generator.config.z_dim).to(device), c, truncation_psi=psi)


@torch.no_grad()
def random_styles(generator: Generator, count: int, *purpose: int | str, classes: Tensor | None = None) -> Tensor:
    """Style vectors [count, num_ws, w_dim] of random latents that depend on `purpose` alone. classes: [count]; None = random ones."""
    config, device = generator.config, generator.mapping.w_avg.device
    z = torch.randn(count, config.z_dim, generator=seeded("styles", *purpose))
    if not config.label_dim:
        return generator.mapping(z.to(device), None)
    classes = random_classes(generator, count, *purpose) if classes is None else classes
    return generator.mapping(z.to(device), torch.nn.functional.one_hot(classes, config.label_dim).float().to(device))


def random_classes(generator: Generator, count: int, *purpose: int | str) -> Tensor:
    """[count], each class as likely as any other; zeros for a model without labels."""
    return torch.randint(max(generator.config.label_dim, 1), (count,), generator=seeded("classes", *purpose))
