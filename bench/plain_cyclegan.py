"""The published CycleGAN in plain torch: networks layer by layer, with the names that junyanz' files have for them, and one training step.

What ours is compared with, in benchmarks and in tests; written from Zhu et al. 2017 and from the names in such files.
"""

import random
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional


def normalised(convolution: nn.Module, *, after: nn.Module | None = None) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(convolution.out_channels), after or nn.ReLU()]


class Block(nn.Module):
    def __init__(self, dim: int, *, dropout: bool = False) -> None:
        super().__init__()
        first = [nn.ReflectionPad2d(1), *normalised(nn.Conv2d(dim, dim, 3)), *([nn.Dropout(0.5)] if dropout else [])]
        self.conv_block = nn.Sequential(*first, nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3), nn.InstanceNorm2d(dim))

    def forward(self, x):
        return x + self.conv_block(x)


class Named(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


def residual(c_in: int = 3, c_out: int = 3, *, ngf: int = 64, blocks: int = 9, dropout: bool = False) -> nn.Module:
    """model.1, model.4, model.7 convolutions; model.10… blocks; then two transposed ones and the last: model.19, .22 and .26 with nine blocks."""
    return Named(
        nn.Sequential(
            nn.ReflectionPad2d(3),
            *normalised(nn.Conv2d(c_in, ngf, 7)),
            *normalised(nn.Conv2d(ngf, 2 * ngf, 3, 2, 1)),
            *normalised(nn.Conv2d(2 * ngf, 4 * ngf, 3, 2, 1)),
            *(Block(4 * ngf, dropout=dropout) for _ in range(blocks)),
            *normalised(nn.ConvTranspose2d(4 * ngf, 2 * ngf, 3, 2, 1, 1)),
            *normalised(nn.ConvTranspose2d(2 * ngf, ngf, 3, 2, 1, 1)),
            nn.ReflectionPad2d(3),
            nn.Conv2d(ngf, c_out, 7),
            nn.Tanh(),
        )
    )


class Skip(nn.Module):
    """A level of the published U-Net; the innermost has no `deeper`."""

    def __init__(self, outer: int, inner: int, deeper: nn.Module | None) -> None:
        super().__init__()
        wide = inner if deeper is None else 2 * inner
        middle = [] if deeper is None else [nn.InstanceNorm2d(inner), deeper]
        up = nn.ConvTranspose2d(wide, outer, 4, 2, 1)
        self.model = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, 2, 1), *middle, nn.ReLU(), up, nn.InstanceNorm2d(outer))

    def forward(self, x):
        return torch.cat([x, self.model(x)], 1)


def unet(c_in: int = 3, c_out: int = 3, *, ngf: int = 64, levels: int = 8) -> nn.Module:
    """model.model.0 the outermost convolution, model.model.1.model.1 the next, …, model.model.3 the last."""
    widths = [ngf * min(2**level, 8) for level in range(levels)]
    level = None
    for index in range(levels - 1, 0, -1):
        level = Skip(widths[index - 1], widths[index], level)
    outermost = nn.Sequential(nn.Conv2d(c_in, ngf, 4, 2, 1), level, nn.ReLU(), nn.ConvTranspose2d(2 * ngf, c_out, 4, 2, 1), nn.Tanh())
    return Named(Named(outermost))


def patch_judge(c_in: int = 3, *, ndf: int = 64, layers: int = 3) -> nn.Module:
    """model.0, model.2, model.5, model.8 and model.11 convolutions, with three layers."""
    widths = [ndf * min(2**index, 8) for index in range(layers + 1)]
    parts: list[nn.Module] = [nn.Conv2d(c_in, ndf, 4, 2, 1), nn.LeakyReLU(0.2)]
    for index in range(1, layers + 1):
        parts += normalised(nn.Conv2d(widths[index - 1], widths[index], 4, 2 if index < layers else 1, 1), after=nn.LeakyReLU(0.2))
    return Named(nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, 1, 1)))


class Pool:
    """Fakes of before, in a list."""

    def __init__(self, size: int = 50) -> None:
        self.size, self.kept = size, []

    def query(self, fakes):
        shown = []
        for fake in fakes.detach():
            if len(self.kept) < self.size:
                self.kept.append(fake)
            elif random.random() > 0.5:
                place = random.randrange(self.size)
                fake, self.kept[place] = self.kept[place].clone(), fake
            shown.append(fake)
        return torch.stack(shown)


def optimizers(networks: Mapping[str, nn.Module], lr: float = 2e-4) -> dict[str, torch.optim.Optimizer]:
    moved = {"G": [*networks["G_A"].parameters(), *networks["G_B"].parameters()], **{name: networks[name].parameters() for name in ("D_A", "D_B")}}
    return {name: torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.999)) for name, parameters in moved.items()}


def gan_loss(scores, *, is_real: bool):
    return functional.mse_loss(scores, torch.ones_like(scores) if is_real else torch.zeros_like(scores))


def step(networks, moved, pools, real_a, real_b, *, weight: float = 10.0, identity: float = 0.5) -> dict[str, float]:
    """Both generators in one graph, with the discriminators frozen; then D_A, which judges B, and D_B on the fakes of before. Returns the losses."""
    G_A, G_B, D_A, D_B = (networks[name] for name in ("G_A", "G_B", "D_A", "D_B"))
    for judge in (D_A, D_B):
        judge.requires_grad_(False)
    fake_b, fake_a = G_A(real_a), G_B(real_b)
    loss = gan_loss(D_A(fake_b), is_real=True) + gan_loss(D_B(fake_a), is_real=True)
    loss = loss + weight * functional.l1_loss(G_B(fake_b), real_a) + weight * functional.l1_loss(G_A(fake_a), real_b)
    if identity:
        loss = loss + weight * identity * (functional.l1_loss(G_A(real_b), real_b) + functional.l1_loss(G_B(real_a), real_a))
    moved["G"].zero_grad()
    loss.backward()
    moved["G"].step()
    told = {"g_loss": float(loss.detach())}
    for name, judge, real, fake in (("D_A", D_A, real_b, fake_b), ("D_B", D_B, real_a, fake_a)):
        judge.requires_grad_(True)
        moved[name].zero_grad()
        loss = 0.5 * (gan_loss(judge(real), is_real=True) + gan_loss(judge(pools[name].query(fake)), is_real=False))
        loss.backward()
        moved[name].step()
        told[f"{name.lower()}_loss"] = float(loss.detach())
    return told
