"""The StyleGAN3 generator: mapping network, Fourier features, alias-free synthesis layers; and its files.

Names in the state dict are those of NVIDIA's snapshots, so that converted ones load as they are. Source: Karras et al. 2021; PROVENANCE.md has the
equations. Shapes: B pictures, C channels, S = picture's resolution.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from formats.weights import ModelFiles, write_weights
from training.stylegan3.config import InputSpec, LayerSpec, StyleGAN3Config, input_spec, layer_schedule
from training.stylegan3.filtered_lrelu import Path as FilteredBy
from training.stylegan3.filtered_lrelu import filtered_lrelu
from training.stylegan3.filters import filtering_matrices, kaiser_sinc, radial_kaiser_jinc
from training.stylegan3.layers import (
    BandedMatrix,
    Dense,
    LayerFilters,
    RunningMean,
    compute_dtype,
    layer_filters,
    modulated_convolution,
    normalise_second_moment,
)
from training.stylegan3.resampling import Resampling, resampling

_OUTPUT_SCALE = 0.25
# Beside generator.safetensors, which is drawn with: the weights that were trained on when that is their average. Not every folder has it.
TRAINED = "generator_trained.safetensors"


class StyleGAN3Error(Exception):
    """A folder holds no StyleGAN3, or its weights and its configuration do not belong together."""


FILES = ModelFiles("stylegan3", "StyleGAN3", "stylegan3_toc", StyleGAN3Config, StyleGAN3Error)


class Mapping(nn.Module):
    """Latents z [B, z_dim], and labels c [B, label_dim] where there are labels, to intermediate latents.

    z_dim 0 embeds labels alone (the discriminator's use). Returns w [B, w_dim].
    Source: Karras et al. 2019, section 2; normalisation and labels: Karras et al. 2020 (ADA), appendices.
    """

    def __init__(self, *, z_dim: int, label_dim: int, w_dim: int, depth: int) -> None:
        super().__init__()
        self.z_dim, self.label_dim = z_dim, label_dim
        if label_dim:
            self.embed = Dense(label_dim, w_dim)
        for index in range(depth):
            width = w_dim if index else z_dim + (w_dim if label_dim else 0)
            self.add_module(f"fc{index}", Dense(width, w_dim, activation="lrelu", lr_multiplier=0.01))
        self._dense = tuple(f"fc{index}" for index in range(depth))

    def forward(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        # Latent and embedded label each of unit mean square, then side by side: neither may drown the other.
        parts = []
        layers = [cast("Dense", self.get_submodule(name)) for name in self._dense]
        dtype = layers[0].weight.dtype
        if self.z_dim:
            if z is None or z.shape[1] != self.z_dim:
                raise ValueError(f"expected latents z [B, {self.z_dim}], found {None if z is None else list(z.shape)}")
            parts.append(normalise_second_moment(z.to(dtype)))
        if self.label_dim:
            if c is None or c.shape[1] != self.label_dim:
                found = "none" if c is None else f"{c.shape[1]} numbers"
                raise ValueError(f"this model is conditional: it takes {self.label_dim} numbers of label a picture, found {found}")
            parts.append(normalise_second_moment(self.embed(c.to(dtype))))
        w = torch.cat(parts, dim=1)
        for layer in layers:
            w = layer(w)
        return w


class GeneratorMapping(Mapping):
    """The mapping network of G: its w is averaged for truncation, and repeated for every layer."""

    w_avg: Tensor

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__(z_dim=config.z_dim, label_dim=config.label_dim, w_dim=config.w_dim, depth=config.map_depth)
        self.num_ws, self.observed = config.num_ws, RunningMean(config.w_avg_beta)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(  # type: ignore[override]
        self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None, observe: bool = False
    ) -> Tensor:
        """Style vectors ws [B, num_ws, w_dim]. truncation_psi: how far the first `truncation_cutoff` of them (None: all) are from their average.

        observe: for `Generator.move_averages`.
        """
        w = super().forward(z, c)
        if observe:
            self.observed.observe(w.mean(dim=0), len(w))
        ws = w.unsqueeze(1).repeat(1, self.num_ws, 1)
        if truncation_psi == 1:
            return ws
        cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
        # The truncation trick: w' = w̄ + ψ (w - w̄) (Karras et al. 2019, appendix B).
        truncated = self.w_avg.lerp(ws[:, :cutoff], truncation_psi)
        return torch.cat([truncated, ws[:, cutoff:]], dim=1)


class FourierInput(nn.Module):
    """A field of sine waves, moved and turned by w and by `transform`, then mixed: w [B, w_dim] → [B, C, size, size].

    transform: buffer [3, 3], settable: where the content at a place of the output is taken from (the inverse of how the picture moves), in units of
    the picture's side. Source: Karras et al. 2021, section 3.2 and appendices.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, spec: InputSpec, *, w_dim: int) -> None:
        super().__init__()
        self.spec = spec
        # Uniform in the disc of radius `cutoff`: what a band-limited continuous signal may hold.
        angle = 2 * math.pi * torch.rand(spec.channels)
        radius = spec.cutoff * torch.rand(spec.channels).sqrt()
        self.weight = nn.Parameter(torch.randn(spec.channels, spec.channels))
        self.affine = Dense(w_dim, 4)
        nn.init.zeros_(self.affine.weight)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1))
        self.register_buffer("phases", torch.rand(spec.channels) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        freqs, phases = self._placed(w)
        # Waves above the bandwidth fade out towards the Nyquist frequency, where they could alias.
        fade = 1 - (freqs.norm(dim=2) - self.spec.cutoff) / (self.spec.rate / 2 - self.spec.cutoff)
        amplitudes = fade.clamp(0, 1)
        size = self.spec.size
        place = (torch.arange(size, device=w.device, dtype=freqs.dtype) + 0.5 - size / 2) / self.spec.rate
        # [B, H, W, C]: the phase of every wave at every pixel, x along the width.
        across = place[None, :, None] * freqs[:, None, :, 0]
        down = place[None, :, None] * freqs[:, None, :, 1] + phases[:, None, :]
        x = torch.sin(2 * math.pi * (across[:, None, :, :] + down[:, :, None, :]))
        mix = self.weight * self.spec.channels**-0.5
        # Amplitudes go into the mixing matrix [B, C, C], which is smaller than the field.
        x = torch.matmul(x.flatten(1, 2), (mix[None] * amplitudes[:, None, :]).transpose(1, 2))
        return x.view(-1, size, size, self.spec.channels).permute(0, 3, 1, 2)

    def _placed(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies [B, C, 2] and phases [B, C] after the learned rotation and translation and the user's transform."""
        # The first two numbers are a rotation once they have length 1; the same division scales the translation.
        t = self.affine(w)
        cos, sin, right, down = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)
        translation = torch.stack([one, zero, -right, zero, one, -down, zero, zero, one], dim=1).view(-1, 3, 3)
        # Moving the picture by T is sampling waves at T⁻¹: frequencies turn with it, phases shift by f · t.
        placing = rotation @ translation @ self.transform
        phases = self.phases + (self.freqs @ placing[:, :2, 2:]).squeeze(2)
        return self.freqs @ placing[:, :2, :2], phases


class SynthesisLayer(nn.Module):
    """Modulated convolution, bias and filtered leaky ReLU; without filters and nonlinearity it is ToRGB. Source: Karras et al. 2021, figure 4."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None
    up: Tensor
    down_vertical: Tensor
    down_horizontal: Tensor
    plan: Resampling
    filtered_by: FilteredBy = "auto"
    computes_in: torch.dtype | None = None

    def __init__(self, spec: LayerSpec, config: StyleGAN3Config) -> None:
        super().__init__()
        self.spec, self.precision = spec, config.precision
        self.conv_clamp, self.observed = config.conv_clamp, RunningMean(config.magnitude_ema_beta)
        self.affine = Dense(config.w_dim, spec.in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(spec.out_channels, spec.in_channels, spec.kernel, spec.kernel))
        self.bias = nn.Parameter(torch.zeros(spec.out_channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        up_filter, down_filter = _layer_filters(spec)
        self.register_buffer("up_filter", None if up_filter is None else torch.as_tensor(up_filter))
        self.register_buffer("down_filter", None if down_filter is None else torch.as_tensor(down_filter))
        self._set_matrices(up_filter, down_filter)

    def forward(self, x: Tensor, w: Tensor, *, observe: bool = False) -> Tensor:
        """x: [B, C, in, in]. w: [B, w_dim]. Returns [B, C', out, out] in the precision of this layer."""
        if observe:
            self.observed.observe(torch.linalg.vector_norm(x.detach(), dtype=self.magnitude_ema.dtype).square() / x.numel(), len(x))
        # The input is divided by its expected magnitude √E[x²] (an average over training, not of this batch), so styles alone decide scale.
        spec = self.spec
        styles = self.affine(w)
        if spec.is_torgb:
            styles = styles * (spec.in_channels * spec.kernel**2) ** -0.5
        precision = self.precision if spec.is_low_precision else "float32"
        dtype = self.computes_in or compute_dtype(precision, device=x.device, weights=self.weight.dtype)
        x, factor = modulated_convolution(
            x.to(dtype), self.weight, styles, padding=spec.kernel - 1, demodulate=not spec.is_torgb, input_gain=self.magnitude_ema.rsqrt()
        )
        if spec.is_torgb:
            return (x + self.bias.to(dtype)[:, None, None]).clamp(-self.conv_clamp, self.conv_clamp)
        return filtered_lrelu(x, factor, self.bias, filters=self.filters, plan=self.plan, clamp=self.conv_clamp, path=self.filtered_by)

    @property
    def filters(self) -> LayerFilters:
        """The filters as matrices, where the weights are; not for ToRGB, which has none."""
        buffers = (self.up, self.down_vertical, self.down_horizontal)
        return LayerFilters(*(BandedMatrix(matrix, *blocks) for matrix, blocks in zip(buffers, self._blocks, strict=True)))

    def _set_matrices(self, up_filter: np.ndarray | None, down_filter: np.ndarray | None) -> None:
        if self.spec.is_torgb:
            return
        up_kernel, down_kernel = (np.ones(1) if one is None else one.astype(np.float64) for one in (up_filter, down_filter))
        # The convolution pads by kernel - 1 on either side and eats kernel - 1: that much more is what the filters begin with.
        spec, in_size = self.spec, self.spec.in_size + self.spec.kernel - 1
        self.plan = resampling(up_kernel, down_kernel, in_size=(in_size, in_size), up=spec.up, down=spec.down, padding=spec.padding)
        matrices = filtering_matrices(up_kernel, down_kernel, in_size=in_size, up=spec.up, down=spec.down, padding=spec.padding)
        filters = layer_filters(matrices, self.weight)
        for name, filter_matrix in filters._asdict().items():
            self.register_buffer(name, filter_matrix.matrix, persistent=False)
        self._blocks = tuple((one.blocks, one.transposed_blocks) for one in filters)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        # Filters may come with the weights; the matrices are made from them.
        super()._load_from_state_dict(*args, **kwargs)
        self._set_matrices(*(None if f is None else f.float().cpu().numpy() for f in (self.up_filter, self.down_filter)))


def _layer_filters(spec: LayerSpec) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The up and down filter of a layer, float32; None where the rate does not change. Source: Karras et al. 2021, appendix C."""
    up = down = None
    if spec.up > 1:
        up = kaiser_sinc(spec.up_taps, cutoff=spec.in_cutoff, width=2 * spec.in_half_width, rate=spec.middle_rate).astype(np.float32)
    if spec.down > 1:
        design = radial_kaiser_jinc if spec.uses_radial_filter else kaiser_sinc
        down = design(spec.down_taps, cutoff=spec.out_cutoff, width=2 * spec.out_half_width, rate=spec.middle_rate).astype(np.float32)
    return up, down


class Synthesis(nn.Module):
    """ws [B, num_ws, w_dim] → pictures [B, channels, S, S] in float32 (or the weights' own precision), about [-1, 1]."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.num_ws = config.num_ws
        self.input = FourierInput(input_spec(config), w_dim=config.w_dim)
        self.layer_names = []
        for spec in layer_schedule(config):
            self.add_module(spec.name, SynthesisLayer(spec, config))
            self.layer_names.append(spec.name)

    def layers(self) -> Iterator[SynthesisLayer]:
        """The layers and ToRGB, first to last."""
        return (cast("SynthesisLayer", self.get_submodule(name)) for name in self.layer_names)

    def compute_in(self, dtype: torch.dtype | None) -> None:
        """From now on all layers that may compute in low precision compute in `dtype`, on any device; None: as the configuration has it."""
        for layer in self.layers():
            layer.computes_in = dtype if layer.spec.is_low_precision else None

    def forward(self, ws: Tensor, observe: bool = False) -> Tensor:
        assert ws.shape[1] == self.num_ws, f"expected {self.num_ws} style vectors a picture, found {ws.shape[1]}"
        ws = ws.to(self.input.weight.dtype)
        x = self.input(ws[:, 0])
        for layer, w in zip(self.layers(), ws.unbind(dim=1)[1:], strict=True):
            x = layer(x, w, observe=observe)
        return x.to(ws.dtype) * _OUTPUT_SCALE


class Generator(nn.Module):
    """z [B, z_dim] (and labels c [B, label_dim]) → pictures [B, channels, S, S], about [-1, 1]."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = GeneratorMapping(config)
        self.synthesis = Synthesis(config)

    def forward(
        self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None, observe: bool = False
    ) -> Tensor:
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff, observe=observe)
        return self.synthesis(ws, observe=observe)

    def _followers(self) -> list[tuple[Tensor, RunningMean]]:
        return [(self.mapping.w_avg, self.mapping.observed), *((layer.magnitude_ema, layer.observed) for layer in self.synthesis.layers())]

    def forget_observed(self) -> None:
        for _, observed in self._followers():
            observed.forget()

    @torch.no_grad()
    def move_averages(self, over_all: Callable[[Tensor], Tensor] = lambda sums: sums) -> None:
        """One step of w_avg and of every layer's input magnitude towards their means over the pictures that were drawn with `observe` since the last.

        over_all: sums a tensor over all processes.
        """
        followers = self._followers()
        sums = [observed.take() for _, observed in followers]
        for (average, observed), total in zip(followers, over_all(torch.cat(sums)).split([len(one) for one in sums]), strict=True):
            average.copy_((total[:-1] / total[-1]).view_as(average).lerp(average, observed.beta))


def save_generator(folder: Path, generator: Generator) -> None:
    """Write generator.safetensors and config.json into `folder`, with the same bytes for the same weights."""
    FILES.write_config(folder, generator.config)
    write_weights(folder / "generator.safetensors", generator)


def load_generator(folder: str | Path, *, device: str | torch.device = "cpu") -> Generator:
    """The generator of a `data/stylegan3_toc` folder, in evaluation mode and without gradients. Raises StyleGAN3Error."""
    folder = Path(folder)
    generator = Generator(read_config(folder))
    read_weights(folder / "generator.safetensors", generator)
    return generator.to(device).eval().requires_grad_(False)


def read_config(folder: Path) -> StyleGAN3Config:
    """What the networks in `folder` are built from. Raises StyleGAN3Error."""
    return FILES.read_config(folder)


def read_weights(path: Path, module: nn.Module) -> None:
    """Fill `module` from `write_weights`' file. Raises StyleGAN3Error."""
    FILES.read_weights(path, module)
