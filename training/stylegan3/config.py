"""What a StyleGAN3 is built from, and the table of its synthesis layers as a pure function of that."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Cfg = Literal["stylegan3-t", "stylegan3-r"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]

_TAPS_PER_FACTOR = 6  # n in Karras et al. 2021, appendix C: a filter that changes the rate by m has n * m taps.
_FIRST_CUTOFF = 2.0  # f_c of the first layer, in periods across the picture
_FIRST_STOPBAND = 2.0**2.1
_LAST_STOPBAND_RATIO = 2.0**0.3  # f_t of the last layer over its f_c


def magnitude_ema_beta(batch_size: int) -> float:
    """Decay per batch of the averages that normalise every layer's input: half-life 20,000 images."""
    return 0.5 ** (batch_size / 20_000)


@dataclass(frozen=True)
class StyleGAN3Config:
    """Constructor arguments of `Generator` and `Discriminator`; saved as config.json beside the weights. Defaults are the paper's.

    cfg: "stylegan3-t" (translation equivariant; 3x3 convolutions) or "stylegan3-r" (also rotation; 1x1, twice the channels, radial filters).
    resolution: side of the picture in pixels, a power of two. channels: of the picture, 3 or 1. label_dim: 0 for no labels.
    cbase, cmax: channels of a layer are min(cbase / 2 / cutoff, cmax) in G and min(cbase / side, cmax) in D, doubled in G by "stylegan3-r".
    num_layers: synthesis layers without ToRGB; the last `num_critical` of them are critically sampled. margin: pixels kept around the picture.
    conv_clamp: no activation leaves ±conv_clamp. low_precision_res: that many highest resolutions compute in `precision`, the rest in float32.
    precision: of those, on a GPU only; "auto" is float16. A CPU computes in the precision of the weights.
    magnitude_ema_beta: see the function of that name; depends on the batch size. w_avg_beta: decay of the mean w, per batch.
    discriminator_map_depth: of the label embedding in D.
    """

    cfg: Cfg = "stylegan3-t"
    resolution: int = 256
    channels: int = 3
    label_dim: int = 0
    z_dim: int = 512
    w_dim: int = 512
    map_depth: int = 2
    cbase: int = 32768
    cmax: int = 512
    num_layers: int = 14
    num_critical: int = 2
    margin: int = 10
    conv_clamp: float = 256.0
    magnitude_ema_beta: float = magnitude_ema_beta(32)
    w_avg_beta: float = 0.998
    mbstd_group: int = 4
    discriminator_map_depth: int = 8
    low_precision_res: int = 4
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        for name, known in (("cfg", get_args(Cfg)), ("precision", get_args(Precision))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, found {getattr(self, name)!r}")
        if self.resolution < 16 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of two and at least 16, found {self.resolution}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (RGB), found {self.channels}")
        for name in ("z_dim", "w_dim", "map_depth", "cbase", "cmax", "mbstd_group", "discriminator_map_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("label_dim", "margin", "low_precision_res"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if not 1 <= self.num_critical < self.num_layers:
            raise ValueError(f"num_critical must lie in [1, num_layers), found {self.num_critical} of {self.num_layers}")
        for name in ("magnitude_ema_beta", "w_avg_beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], found {getattr(self, name)}")
        if self.conv_clamp <= 0:
            raise ValueError(f"conv_clamp must be positive, found {self.conv_clamp}")

    @property
    def num_ws(self) -> int:
        """Style vectors a picture takes: one for the input, one for every layer, one for ToRGB."""
        return self.num_layers + 2

    @property
    def is_rotation_equivariant(self) -> bool:
        return self.cfg == "stylegan3-r"

    @property
    def conv_kernel(self) -> int:
        return 1 if self.is_rotation_equivariant else 3


@dataclass(frozen=True)
class LayerSpec:
    """One synthesis layer. Rates and cutoffs are in samples and periods across the picture; sizes in pixels, margins included.

    padding: (low, high) pixels added along each axis after zero insertion; negative ones are cropped.
    """

    index: int
    is_torgb: bool
    is_critical: bool
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    in_rate: int
    out_rate: int
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    kernel: int
    up: int
    down: int
    padding: tuple[int, int]
    uses_radial_filter: bool
    is_low_precision: bool

    @property
    def name(self) -> str:
        return f"L{self.index}_{self.out_size}_{self.out_channels}"

    @property
    def middle_rate(self) -> int:
        """Sampling rate at which the nonlinearity is applied."""
        return self.in_rate * self.up

    @property
    def up_taps(self) -> int:
        return _taps(self.up)

    @property
    def down_taps(self) -> int:
        return _taps(self.down)


@dataclass(frozen=True)
class InputSpec:
    """The Fourier features that synthesis begins with."""

    channels: int
    size: int
    rate: int
    cutoff: float


@dataclass(frozen=True)
class _Signal:
    """What comes out of a layer."""

    channels: int
    size: int
    rate: int
    cutoff: float
    half_width: float


def input_spec(config: StyleGAN3Config) -> InputSpec:
    signal = _signals(config)[0]
    return InputSpec(signal.channels, signal.size, signal.rate, signal.cutoff)


def layer_schedule(config: StyleGAN3Config) -> tuple[LayerSpec, ...]:
    """The `num_layers` synthesis layers and ToRGB, first to last. Source: Karras et al. 2021, section 3.2 and appendices."""
    signals = _signals(config)
    return tuple(_layer(config, index, signals[max(index - 1, 0)], signal) for index, signal in enumerate(signals))


def _signals(config: StyleGAN3Config) -> list[_Signal]:
    # Karras et al.: f_c[i] = f_c[0] (f_c[N] / f_c[0])^e, likewise f_t; s[i] = 2^⌈log₂ min(2 f_t[i], R)⌉; f_h[i] = max(f_t[i], s[i]/2) - f_c[i].
    # Equal steps of e between layers are equal ratios of cutoffs; from the first critically sampled layer on nothing grows any more.
    R, N = config.resolution, config.num_layers
    width = 2 if config.is_rotation_equivariant else 1
    signals = []
    for index in range(N + 1):
        # Cutoff and stopband grow geometrically up to the first critically sampled layer.
        e = min(index / (N - config.num_critical), 1.0)
        cutoff = _FIRST_CUTOFF * (R / 2 / _FIRST_CUTOFF) ** e
        stopband = _FIRST_STOPBAND * (R / 2 * _LAST_STOPBAND_RATIO / _FIRST_STOPBAND) ** e
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, R)))
        size = R if index >= N - 1 else rate + 2 * config.margin
        channels = config.channels if index == N else round(min(width * config.cbase / 2 / cutoff, width * config.cmax))
        signals.append(_Signal(channels, size, rate, cutoff, max(stopband, rate / 2) - cutoff))
    return signals


def _layer(config: StyleGAN3Config, index: int, source: _Signal, target: _Signal) -> LayerSpec:
    # The nonlinearity is applied at twice the higher of both rates, where what it makes of high frequencies can still be filtered out.
    is_torgb = index == config.num_layers
    is_critical = index >= config.num_layers - config.num_critical
    middle_rate = max(source.rate, target.rate) * (1 if is_torgb else 2)
    up, down = middle_rate // source.rate, middle_rate // target.rate
    kernel = 1 if is_torgb else config.conv_kernel
    # The padding that makes the output exactly `target.size` long after all filters have eaten their borders.
    total = (target.size - 1) * down + 1 - (source.size + kernel - 1) * up + _taps(up) + _taps(down) - 2
    low = (total + up) // 2
    return LayerSpec(
        index=index,
        is_torgb=is_torgb,
        is_critical=is_critical,
        in_channels=source.channels,
        out_channels=target.channels,
        in_size=source.size,
        out_size=target.size,
        in_rate=source.rate,
        out_rate=target.rate,
        in_cutoff=source.cutoff,
        out_cutoff=target.cutoff,
        in_half_width=source.half_width,
        out_half_width=target.half_width,
        kernel=kernel,
        up=up,
        down=down,
        padding=(low, total - low),
        uses_radial_filter=config.is_rotation_equivariant and not is_critical,
        is_low_precision=target.rate * 2**config.low_precision_res > config.resolution,
    )


def _taps(factor: int) -> int:
    return _TAPS_PER_FACTOR * factor if factor > 1 else 1


def discriminator_channels(config: StyleGAN3Config) -> dict[int, int]:
    """Channels of D at every side length, from the picture's down to 4."""
    sides = [2**power for power in range(int(math.log2(config.resolution)), 1, -1)]
    return {side: max(min(config.cbase // side, config.cmax), 1) for side in sides}


def lowest_low_precision_side(config: StyleGAN3Config) -> int:
    """Blocks of D from this side length upward compute in low precision; the last ones, at 4x4, never do."""
    return max(2 * config.resolution // 2**config.low_precision_res, 8)
