"""What decides the trainings of toc_encoder and toc_titler, beside what all fine-tunings have in common (training/words/fine_tuning.py)."""

from dataclasses import dataclass

from training.loop.bounds import above, at_least, within
from training.words.captions.networks import Architecture
from training.words.fine_tuning import FineTuning


@dataclass(frozen=True)
class ToCEncoderConfig(FineTuning):
    """The section `toc_encoder` of params.yaml; samples are pictures shown. Defaults are SimMIM's (Xie et al. 2022), for a small model."""

    dataset_size: int = 128
    allow_unknown_licence: bool = False
    # Of new weights (start_from: null); a model that is loaded has its own
    architecture: Architecture = "vit"
    image_px: int = 64
    patch_px: int = 8
    width: int = 128
    layers: int = 4
    heads: int = 4
    # What is hidden, and how pictures vary
    mask_px: int = 16
    mask_ratio: float = 0.6
    least_crop: float = 0.67
    flip: bool = False
    shown_pictures: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "dataset_size", "image_px", "patch_px", "width", "layers", "heads", "mask_px", "shown_pictures")
        above(self, 0, "mask_ratio", "least_crop")
        within(self, 0, 1, "mask_ratio", "least_crop")
        if self.start_from is None and self.image_px % self.patch_px:
            raise ValueError(f"image_px {self.image_px} is not a multiple of patch_px {self.patch_px}")
        if self.start_from is None and self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of twice the heads, {2 * self.heads}")

    @property
    def what(self) -> str:
        return "pictures"


@dataclass(frozen=True)
class ToCTitlerConfig(FineTuning):
    """The section `toc_titler` of params.yaml; samples are pairs of a picture and a title.

    start_encoder, start_decoder: a stage of this project (`toc_encoder`, `title_gpt2`), a hub name or a folder; None = new weights in the shape of
    the stage's. max_tokens: of a title with its beginning and its end.
    """

    dataset_size: int = 128
    allow_unknown_licence: bool = False
    start_encoder: str | None = "toc_encoder"
    start_decoder: str | None = "title_gpt2"
    max_tokens: int = 64
    least_crop: float = 1.0
    shown_pairs: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "dataset_size", "shown_pairs")
        at_least(self, 3, "max_tokens")
        above(self, 0, "least_crop")
        within(self, 0, 1, "least_crop")
        if self.start_from is not None:
            raise ValueError(f"start_from is '{self.start_from}', but this model is put together from two; set start_encoder and start_decoder")

    @property
    def what(self) -> str:
        return "pairs"
