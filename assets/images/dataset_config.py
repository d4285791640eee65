"""What decides an image dataset: the settings that all sources share, and what a source says of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from formats.pad_resize import Fit, Resample


@dataclass(frozen=True)
class DatasetConfig:
    """A section of params.yaml for a stage that makes datasets of one or several sizes, such as `toc_dataset`; one for all sizes.

    sizes:            sides, powers of two, each an artifact of its own; one decode feeds all.
    fit:              pad puts a picture on a white square, crop takes the square in its middle; squash
                      stretches it to a square, which only those want who compare with sets made that way.
    canvas_px:        the white square; a larger picture gets one of its longer side.
    enlarge:          with pad: bring what is smaller than the canvas to its side, instead of putting it there as it is. crop always enlarges.
    resample:         lanczos is Pillow's, exactly; box is the mean of the area: faster, other pixels.
    colours:          rgb, or grey: one channel, of the luma of ITU-R 601.
    labels:           the column of the originals' index that becomes the class of a picture; null for none.
    images_per_shard: serial numbers in a zip; numbers of pictures that are left out stay empty.
    allow_unknown_licence: let pictures of unknown licence in.
    handover_mib:     how much may lie in .figment/ for the other sizes; beyond it they decode again.
    """

    sizes: list[int] = field(default_factory=lambda: [512, 256, 128])
    fit: Fit = "pad"
    canvas_px: int = 512
    enlarge: bool = False
    resample: Resample = "lanczos"
    colours: Literal["rgb", "grey"] = "rgb"
    labels: str | None = None
    images_per_shard: int = 1_000
    allow_unknown_licence: bool = False
    handover_mib: int = 4_096

    def __post_init__(self) -> None:
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            raise ValueError(f"sizes must name some sizes, each once; found {self.sizes}")
        for size in self.sizes:
            if size < 4 or size & (size - 1) or size > self.canvas_px:
                raise ValueError(f"sizes: {size} is not a power of two from 4 to canvas_px = {self.canvas_px}")
        if not 1 <= self.images_per_shard <= 60_000:
            raise ValueError(f"images_per_shard must lie between 1 and 60,000, found {self.images_per_shard}")
        if self.handover_mib < 0:
            raise ValueError(f"handover_mib must be 0 or more, found {self.handover_mib}")


def _welcome(row: Mapping[str, Any]) -> None:
    """Every picture may come in, as far as its source is concerned."""
    del row


@dataclass(frozen=True)
class Subject:
    """What a source says of its datasets.

    title, pictures: what the dataset, and what its pictures are called on the card.
    tags:    for search, on the card.
    columns: of the originals' index that both tables keep, and, in `names`, how the card calls those that name rights: "licence, source and papers".
    tasks:   that it is for, as Hugging Face calls them.
    refusal: (reason, words) for a picture that must stay out, None for another; takes its row of the originals' index.
    """

    title: str
    pictures: str
    tags: tuple[str, ...] = ()
    columns: pa.Schema = field(default_factory=lambda: pa.schema([]))
    names: str = "licence and source"
    tasks: tuple[str, ...] = ("unconditional-image-generation",)
    refusal: Callable[[Mapping[str, Any]], tuple[str, str] | None] = _welcome
