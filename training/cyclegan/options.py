"""What decides a CycleGAN training: its pictures, its networks, how long and in which way it learns, and how it is watched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from training.cyclegan.config import CycleGANConfig, Upsample
from training.gans.options import GanOptions, MetricName
from training.loop.bounds import above, at_least, within
from training.loop.devices import Precision

# In a row of a snapshot: a picture, its translation, and that one's translation back, first from A and then from B.
CELLS_OF_A_PAIR = 6
_SIX_BLOCKS_UP_TO = 128  # px
_OF_THE_SEED = {"net_g": "resnet_9blocks", "net_d": "basic", "lr": 1e-3, "lambda_identity": 0.0, "pool": 0, "batch": 3, "batch_gpu": None}
# What a variant decides by itself, whatever else is said of it: GAN-with-JAX as its code has it, and as its text has it.
VARIANTS: dict[str, dict[str, Any]] = {
    "cyclegan": {},
    "gan-with-jax": _OF_THE_SEED,
    "gan-with-jax-text": {**_OF_THE_SEED, "net_g": "resnet_6blocks", "net_d": "seed94"},
}


@dataclass(frozen=True)
class CycleGANOptions(GanOptions):
    """The section `cyclegan_paintings` of params.yaml, in the words users of CycleGAN know. Defaults are the published ones, for pictures of 256 px.

    A sample is a pair: a picture of A and one of B, which have nothing to do with each other. After `variant`, attributes are what it decides.
    """

    kimg: float = 1260.0
    batch: int = 1
    snap: float = 50.0
    checkpoint_kimg: float = 10.0
    grid: tuple[int, ...] = (CELLS_OF_A_PAIR, 6)
    metrics: tuple[MetricName, ...] = ("swd",)
    metric_images: int = 512
    # What it learns from
    domain_a: str = "paintings"
    domain_b: str = "photographs"
    resolution: int | None = None
    load_size: int | None = 286
    flip: bool = True
    # Its networks
    variant: Literal["cyclegan", "gan-with-jax", "gan-with-jax-text"] = "cyclegan"
    net_g: str = "auto"
    ngf: int = 64
    upsample: Upsample = "transposed"
    net_d: Literal["basic", "seed94"] = "basic"
    n_layers_d: int = 3
    ndf: int = 64
    # In which way
    lambda_a: float = 10.0
    lambda_b: float = 10.0
    lambda_identity: float = 0.5
    pool: int = 50
    lr: float = 2e-4
    beta1: float = 0.5
    constant_kimg: float = 630.0
    decay_kimg: float = 630.0
    resume_from: Path | None = None
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        for name, value in VARIANTS[self.variant].items():
            object.__setattr__(self, name, value)
        super().__post_init__()
        at_least(self, 1, "ngf", "ndf", "n_layers_d")
        at_least(self, 0, "lambda_a", "lambda_b", "lambda_identity", "pool", "constant_kimg", "decay_kimg")
        above(self, 0, "lr")
        within(self, 0, 0.999, "beta1")
        if self.grid and self.grid[0] % CELLS_OF_A_PAIR:
            raise ValueError(f"grid must have {CELLS_OF_A_PAIR} columns or a multiple of it, found {self.grid[0]}: a row shows both ways and back")
        end = self.constant_kimg + self.decay_kimg
        if self.decay_kimg and self.plan.total_samples > round(end * 1000):
            raise ValueError(
                f"kimg is {self.kimg:g}, but the learning rate is 0 from constant_kimg + decay_kimg = {end:g} on; raise one of these, or set "
                "decay_kimg: 0 for a rate that stays"
            )

    def rate_factor(self, samples: int) -> float:
        """Of the learning rate after so many pairs: 1, and from `constant_kimg` on a straight line down to 0. A matter of that number alone."""
        beyond = samples / 1000 - self.constant_kimg
        return 1.0 if beyond <= 0 or not self.decay_kimg else max(0.0, 1.0 - beyond / self.decay_kimg)

    def network_config(self, *, resolution: int, channels: int) -> CycleGANConfig:
        """The constructor arguments of all networks, for pictures of that kind. Raises ValueError for shapes that cannot be."""
        is_the_seeds = self.variant != "cyclegan"
        config = CycleGANConfig(
            **{name: getattr(self, name) for name in ("domain_a", "domain_b", "ngf", "upsample", "ndf", "n_layers_d")},
            net_g=self.net_g if self.net_g != "auto" else f"resnet_{6 if resolution <= _SIX_BLOCKS_UP_TO else 9}blocks",
            resolution=resolution,
            channels_a=channels,
            channels_b=channels,
            d_last_stride=2 if self.net_d == "seed94" else 1,
            d_padding="reflect" if is_the_seeds else "zeros",
            d_sigmoid=is_the_seeds,
        )
        config.check_side(resolution)
        if self.load_size is not None and self.load_size < resolution:
            raise ValueError(
                f"load_size is {self.load_size}, smaller than the {resolution} px that are cut out of it; raise it, or null for no cutting"
            )
        return config

    def decisive(self) -> dict[str, Any]:
        """`resume_from` counts by its content, which is an input, and not by its place."""
        return {name: value for name, value in super().decisive().items() if name != "resume_from"}
