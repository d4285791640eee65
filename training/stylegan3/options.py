"""What decides a StyleGAN3 training: its images, its networks, how long and in which way it learns, and how it is watched."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from training.gans.augment import Preset
from training.gans.options import GanOptions
from training.loop.bounds import above, at_least, within
from training.stylegan3.config import StyleGAN3Config, magnitude_ema_beta
from training.stylegan3.gamma import default_gamma

_ADA_KIMG_OF_A_TRANSFER = 100.0


@dataclass(frozen=True)
class StyleGAN3Options(GanOptions):
    """The section `stylegan3_toc` of params.yaml, in the words users of StyleGAN know. Defaults are the published ones for one GPU."""

    # What it learns from
    dataset_size: int = 256
    resolution: int | None = None
    mirror: bool = False
    cond: bool = False
    # Its networks
    cfg: Literal["stylegan3-t", "stylegan3-r"] = "stylegan3-t"
    cbase: int = 32768
    cmax: int = 512
    z_dim: int = 512
    w_dim: int = 512
    map_depth: int = 2
    num_layers: int = 14
    num_critical: int = 2
    margin: int = 10
    mbstd_group: int = 4
    # In which way
    loss: Literal["non-saturating", "rpgan"] = "non-saturating"
    gamma: float | None = None
    glr: float = 0.0025
    dlr: float = 0.002
    reg_interval: int = 16
    ema_kimg: float | None = None
    ema_rampup: float = 0.05
    aug: Literal["noaug", "ada", "fixed"] = "ada"
    aug_preset: Preset = "text"
    p: float = 0.2
    target: float = 0.6
    ada_kimg: float = 500.0
    freezed: int = 0
    resume_from: Path | None = None
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "dataset_size", "cbase", "cmax", "z_dim", "w_dim", "map_depth", "num_layers", "reg_interval", "mbstd_group")
        above(self, 0, "ada_kimg", "glr", "dlr")
        at_least(self, 0, "freezed", "ema_rampup", "num_critical", "margin")
        within(self, 0, 1, "p", "target")
        self.check_group(self.side_by_side)
        if self.gamma is not None and self.gamma < 0:
            raise ValueError(f"gamma must not be negative, found {self.gamma}; null takes it from resolution and batch")

    def check_group(self, side_by_side: int) -> None:
        """Raises ValueError when D sees fewer pictures side by side in a process than the group whose variety it is to judge."""
        if side_by_side < self.mbstd_group:
            raise ValueError(
                f"mbstd_group is {self.mbstd_group}, but a process has only {side_by_side} pictures side by side (batch {self.batch}, batch_gpu "
                f"{self.batch_gpu}); raise batch_gpu or batch, use fewer processes, or lower mbstd_group"
            )

    @property
    def ema_half_life_images(self) -> float:
        """Images after which an old weight counts half: ten thousand for a batch of 32, in proportion to it."""
        return (self.ema_kimg if self.ema_kimg is not None else self.batch * 10 / 32) * 1000

    @property
    def resolved_ema_rampup(self) -> float:
        """A transfer starts from weights that are no longer young: no ramp."""
        return self.ema_rampup if self.resume_from is None else 0.0

    @property
    def resolved_ada_kimg(self) -> float:
        """A transfer starts from networks that know images already: the augmentation may follow faster."""
        return self.ada_kimg if self.resume_from is None else min(self.ada_kimg, _ADA_KIMG_OF_A_TRANSFER)

    def resolved_gamma(self, resolution: int) -> float:
        return self.gamma if self.gamma is not None else default_gamma(resolution, self.batch)

    def network_config(self, *, resolution: int, channels: int, label_dim: int) -> StyleGAN3Config:
        """The constructor arguments of both networks, for pictures of that kind. Raises ValueError for shapes that cannot be."""
        # What both classes name, they mean alike.
        shared = {field.name: getattr(self, field.name) for field in fields(StyleGAN3Config) if hasattr(self, field.name)}
        pictures = {"resolution": resolution, "channels": channels, "label_dim": label_dim}
        return StyleGAN3Config(**{**shared, **pictures, "magnitude_ema_beta": magnitude_ema_beta(self.batch)})

    @property
    def reads(self) -> str:
        """The dataset it learns from, by its name in the graph."""
        return f"toc_dataset@{self.dataset_size}"

    def decisive(self) -> dict[str, Any]:
        """`resume_from` counts by its content, which is an input, and not by its place."""
        return {name: value for name, value in super().decisive().items() if name != "resume_from"}


@dataclass(frozen=True)
class NamedSetOptions(StyleGAN3Options):
    """The section of any other StyleGAN3 stage: the same, and which pictures: those of data/<dataset>@<dataset_size>."""

    dataset: str = "page_dataset"

    @property
    def reads(self) -> str:
        return f"{self.dataset}@{self.dataset_size}"

    def decisive(self) -> dict[str, Any]:
        """`dataset` counts as an input, by its name and content."""
        return {name: value for name, value in super().decisive().items() if name != "dataset"}
