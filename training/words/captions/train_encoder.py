"""Train a picture encoder by letting it fill in hidden squares of table-of-contents pictures (SimMIM, Xie et al. 2022).

    python -m training.words.captions.train_encoder --set architecture=swin --set patch_px=4
    python -m training.words.captions.train_encoder --set start_from=google/vit-base-patch16-224-in21k --set mask_px=32

Reads data/toc_dataset@SIZE and, for the splits, data/paper_texts; writes data/toc_encoder: a masked image model that transformers loads, its image
processor, and reconstructions.png. The same command again continues where the last one was interrupted.
"""

import functools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from formats.image_shards import ImageSetError
from formats.text_tables import PaperText, TextTableError
from stages.reporting import Reporter
from training.fine_tuning.examples import TuningError
from training.fine_tuning.hf_job import fine_tuning_job, run_fine_tuning
from training.fine_tuning.model_flops import picture_flops
from training.fine_tuning.model_folder import load_processor
from training.fine_tuning.options import FineTuning
from training.fine_tuning.trainer import Task
from training.gans.grids import save_picture, tile
from training.loop.bounds import above, at_least, within
from training.loop.seeding import generator
from training.words.captions.networks import Architecture, load_masked_model, new_masked_model, new_processor
from training.words.captions.pairs import Pictures, read_pairs, to_uint8, varied

_LIMITS = """
It has seen pictures of the kinds above and no others. What it fills in is the likeliest blur, not what is hidden: no reconstruction is evidence of
anything. Its use is as the beginning of another model, such as `toc_titler`.
"""


@dataclass(frozen=True)
class MaskGrid:
    """side_px: of the picture. unit_px: of a square that is hidden or shown whole. patch_px: of the patches that the network is told about."""

    side_px: int
    unit_px: int
    patch_px: int

    def __post_init__(self) -> None:
        if self.unit_px % self.patch_px or self.side_px % self.unit_px or self.side_px == self.unit_px:
            raise TuningError(
                f"squares of {self.unit_px} px cannot be hidden in pictures of {self.side_px} px with patches of {self.patch_px} px; "
                "choose mask_px as a multiple of the patch that divides the picture into several"
            )

    def random_mask(self, ratio: float, random: torch.Generator) -> Tensor:
        """A mask, bool [patches], True = hidden: of the picture's units the share `ratio`, rounded up, but never all of them."""
        side, repeat = self.side_px // self.unit_px, self.unit_px // self.patch_px
        units = torch.zeros(side * side, dtype=torch.bool)
        units[torch.randperm(side * side, generator=random)[: min(math.ceil(side * side * ratio), side * side - 1)]] = True
        return units.view(side, side).repeat_interleave(repeat, 0).repeat_interleave(repeat, 1).flatten()

    def pixels(self, masks: Tensor) -> Tensor:
        """Masks bool [B, patches] as bool [B, 1, side_px, side_px]."""
        side = self.side_px // self.patch_px
        return masks.view(-1, 1, side, side).repeat_interleave(self.patch_px, 2).repeat_interleave(self.patch_px, 3)


def masked_l1(found: Tensor, pixels: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """(sum, number) of the absolute errors of found [B, C, H, W] (or what broadcasts to it) where `hidden`, [B, 1, H, W], is true."""
    return ((found.float() - pixels.float()).abs() * hidden).sum(), hidden.sum() * pixels.shape[1]


def fill_in(model: nn.Module, pixels: Tensor, masks: Tensor) -> Tensor:
    """[B, C, H, W]: every pixel as the model imagines it from the patches that are not hidden."""
    filled: Tensor = model(pixel_values=pixels, bool_masked_pos=masks).reconstruction
    return filled


def masked_loss(grid: MaskGrid, model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """SimMIM's: absolute errors on hidden pixels, and their number."""
    pixels, masks = batch["pixel_values"], batch["bool_masked_pos"]
    return masked_l1(fill_in(model, pixels, masks), pixels, grid.pixels(masks))


def guesses(pixels: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Mean and median, each [B, C, 1, 1], of what is visible of each picture and channel: the guesses of who knows nothing of pictures.

    On pictures of white paper the median is by far the better one.
    """
    visible = pixels.masked_fill(hidden, math.nan).flatten(2)
    return {"mean": visible.nanmean(2)[..., None, None], "median": visible.nanmedian(2).values[..., None, None]}


@dataclass(frozen=True)
class ToCEncoderConfig(FineTuning):
    """The section `toc_encoder` of params.yaml; samples are pictures. architecture … heads: of new weights; what is loaded has its own."""

    dataset_size: int = 128
    architecture: Architecture = "vit"
    image_px: int = 64
    patch_px: int = 8
    width: int = 128
    layers: int = 4
    heads: int = 4
    mask_px: int = 16
    mask_ratio: float = 0.6
    least_crop: float = 0.67
    shown_pictures: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "dataset_size", "image_px", "patch_px", "width", "layers", "heads", "mask_px", "shown_pictures")
        above(self, 0, "mask_ratio", "least_crop")
        within(self, 0, 1, "mask_ratio", "least_crop")
        if self.start_from is None and (self.image_px % self.patch_px or self.width % (2 * self.heads)):
            raise ValueError("image_px must be a multiple of patch_px, and width of twice the heads")

    @property
    def what(self) -> str:
        return "pictures"


class MaskedPictures:
    """The pictures of papers, each once: `pixel_values` float32 [B, 3, P, P] and `bool_masked_pos` bool [B, patches], True = hidden.

    varies: cut as the configuration says; held-out pictures are shown as they are.
    """

    def __init__(self, papers: Sequence[PaperText], pictures: Pictures, grid: MaskGrid, config: ToCEncoderConfig, *, varies: bool) -> None:
        self.names = list(dict.fromkeys(paper.image_sha256 or "" for paper in papers))
        self.pictures, self.grid, self._ratio = pictures, grid, config.mask_ratio
        self._least_crop = config.least_crop if varies else 1.0

    def __len__(self) -> int:
        return len(self.names)

    def lengths(self) -> list[int]:
        return [1] * len(self.names)

    def batch(self, indices: Sequence[int], random: torch.Generator) -> dict[str, Tensor]:
        """The pictures at these places. random: of crops and masks, picture by picture."""
        images, masks = [], []
        for index in indices:
            images.append(varied(self.pictures.image(self.names[index]), random, least_crop=self._least_crop))
            masks.append(self.grid.random_mask(self._ratio, random))
        return {"pixel_values": self.pictures.tensor(images), "bool_masked_pos": torch.stack(masks)}


class Reconstructions:
    """How well hidden squares are filled in: numbers beside two guesses, and a picture; always of the same pictures and squares."""

    def __init__(self, model: PreTrainedModel, valid: MaskedPictures, shown: MaskedPictures, config: ToCEncoderConfig) -> None:
        self.model, self.valid, self.seed = model, valid, config.seed
        self._shown = shown.batch(range(min(config.shown_pictures, len(shown))), generator(config.seed, "shown"))

    def measure(self, _: PreTrainedModel, loss: float, judged: Sequence[int]) -> dict[str, float]:
        """loss: the held-out masked L1 of the model; the result has what two guesses have on the same squares, and the ratios to them."""
        batch, values = self.valid.batch(judged, generator(self.seed, "validation", 0)), {}
        pixels, hidden = batch["pixel_values"], self.valid.grid.pixels(batch["bool_masked_pos"])
        for name, guess in guesses(pixels, hidden).items():
            total, number = masked_l1(guess, pixels, hidden)
            values[f"validation_l1_of_visible_{name}"] = guessed = float(total / number)
            values[f"validation_l1_over_visible_{name}"] = loss / max(guessed, 1e-9)
        return values

    def draw(self, model: PreTrainedModel, path: Path) -> None:
        """Two in a row: the real picture, its hidden squares grey, and these filled in."""
        pixels, masks = self._shown["pixel_values"], self._shown["bool_masked_pos"]
        with torch.no_grad():
            filled = to_uint8(fill_in(model, pixels.to(model.device), masks.to(model.device)), self.valid.pictures.processor)
        real, hidden = to_uint8(pixels, self.valid.pictures.processor), self.valid.grid.pixels(masks).numpy()
        rows = numpy.stack([real, numpy.where(hidden, numpy.uint8(128), real), numpy.where(hidden, filled, real)], axis=1)
        save_picture(path, tile(numpy.pad(rows.reshape(-1, *real.shape[1:]), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=200), 6))

    def save_pretrained(self, folder: Any) -> None:
        """What lies beside the weights: the picture, of the weights that are saved."""
        self.draw(self.model, Path(folder) / "reconstructions.png")


def _inputs(folder: Path, config: ToCEncoderConfig) -> dict[str, Path]:
    return {name: folder / name for name in (f"toc_dataset@{config.dataset_size}", "paper_texts")}


def _open(folder: Path, config: ToCEncoderConfig, reporter: Reporter) -> Task:
    if config.start_from is None:
        sizes = {name: getattr(config, name) for name in ("image_px", "patch_px", "width", "layers", "heads", "dropout")}
        model, processor = new_masked_model(config.architecture, **sizes), new_processor(config.image_px)
    else:
        model, processor = load_masked_model(config.start_from, config.dropout), load_processor(config.start_from)
    pairs = read_pairs(folder, config.dataset_size, processor)
    grid = MaskGrid(int(model.config.image_size), config.mask_px, int(model.config.patch_size))
    train, valid = (MaskedPictures(pairs.by_split[split], pairs.pictures, grid, config, varies=split == "train") for split in ("train", "valid"))
    reporter.log(f"toc_encoder: {len(train):,} pictures to learn from, {len(valid):,} held out; papers: {pairs}")
    flops, _ = picture_flops(model, **train.batch([0], generator(config.seed, "counted")))
    # Without held-out pictures, people are shown those of the training.
    shown = Reconstructions(model, valid, valid if len(valid) else train, config)
    return Task(
        model,
        train,
        valid,
        functools.partial(masked_loss, grid),
        samples=lambda network: {"reconstructions.png": lambda path: shown.draw(network, path)},
        measure=shown.measure,
        savers=[processor, shown],
        buckets=False,
        counts=pairs.set_aside,
        limits=_LIMITS,
        pipeline="image-feature-extraction",
        size=f"{model.config.model_type} {grid.side_px} px",
        epoch_flops=len(train) * flops,
    )


JOB = fine_tuning_job("toc_encoder", "training.words.captions.train_encoder", ToCEncoderConfig, _inputs, _open)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_encoder`; see training/fine_tuning/hf_job.py for what it does and stages/program.py for flags and exit codes."""
    return run_fine_tuning(JOB, __doc__, argv, expected=(ImageSetError, TextTableError))


if __name__ == "__main__":
    sys.exit(main())
