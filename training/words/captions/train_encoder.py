"""Train a picture encoder by letting it fill in hidden squares of table-of-contents pictures (SimMIM, Xie et al. 2022).

    python -m training.words.captions.train_encoder
    python -m training.words.captions.train_encoder --set architecture=swin --set patch_px=4          # two stages, windows of half the picture
    python -m training.words.captions.train_encoder --set start_from=google/vit-base-patch16-224-in21k --set mask_px=32

Reads data/toc_dataset@SIZE and, for the splits, data/paper_texts; writes data/toc_encoder: a masked image model that transformers loads, its image
processor, and reconstructions.png. The same command again continues where the last one was interrupted.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedImageModeling, PreTrainedModel

from formats.image_shards import ImageSetError
from formats.text_tables import TextTableError, read_paper_texts
from stages.reporting import Reporter
from training.gans.grids import save_picture
from training.loop.seeding import generator
from training.tracking.tracker import Field, Signature
from training.words.captions.config import ToCEncoderConfig
from training.words.captions.masking import MaskGrid, fill_in, masked_l1, panel, visible_means, visible_medians
from training.words.captions.networks import check_masked_model, config_of, new_masked_model, patch_px
from training.words.captions.pairs import join, pictures_of
from training.words.captions.pictures import Pictures, load_processor, new_processor, to_uint8, varied
from training.words.hf_job import fine_tuning_job, run_fine_tuning
from training.words.model_folder import load_model
from training.words.trainer import Task

_PANEL_TRIPLES = 2
_GUESSES = {"mean": visible_means, "median": visible_medians}
_GUESSED_AT_ONCE = 64
_LIMITS = """
It has seen pictures of the kinds above and no others. What it fills in is the likeliest blur, not what is hidden: no reconstruction is evidence of
anything. Its use is as the beginning of another model, such as `toc_titler`.
"""


class MaskedPictures:
    """Pictures as batches: `pixel_values` float32 [B, 3, P, P] and `bool_masked_pos` bool [B, patches], True = hidden.

    varies: cut and mirrored as the configuration says; held-out pictures are shown as they are.
    """

    def __init__(self, names: Sequence[str], pictures: Pictures, grid: MaskGrid, config: ToCEncoderConfig, *, varies: bool) -> None:
        self.names, self.pictures, self.grid, self._ratio = list(names), pictures, grid, config.mask_ratio
        self._least_crop, self._flip = (config.least_crop, config.flip) if varies else (1.0, False)

    def __len__(self) -> int:
        return len(self.names)

    def lengths(self) -> list[int]:
        """Every picture is one."""
        return [1] * len(self.names)

    def batch(self, indices: Sequence[int], random: torch.Generator) -> dict[str, Tensor]:
        """The pictures at these places. random: of crops, flips and masks, picture by picture."""
        images, masks = [], []
        for index in indices:
            images.append(varied(self.pictures.image(self.names[index]), random, least_crop=self._least_crop, flip=self._flip))
            masks.append(self.grid.random_mask(self._ratio, random))
        return {"pixel_values": self.pictures.tensor(images), "bool_masked_pos": torch.stack(masks)}


class Reconstructions:
    """How well hidden squares are filled in: numbers beside two guesses, and a picture; always of the same pictures and squares."""

    def __init__(self, model: PreTrainedModel, valid: MaskedPictures, train: MaskedPictures, config: ToCEncoderConfig) -> None:
        self.model, self.valid, self.seed = model, valid, config.seed
        # Without held-out pictures, people are shown those of the training.
        shown = valid if len(valid) else train
        self._shown = shown.batch(range(min(config.shown_pictures, len(shown))), generator(config.seed, "shown"))
        self._guesses: dict[str, float] = {}

    def measure(self, model: PreTrainedModel, loss: float, judged: Sequence[int]) -> dict[str, float]:
        """loss: the held-out masked L1 of the model; the result has those of the guesses on the same squares, and the ratios to them."""
        del model
        if not self._guesses:
            self._guesses = self._guess(judged)
        guesses = {f"validation_l1_of_visible_{name}": value for name, value in self._guesses.items()}
        ratios = {f"validation_l1_over_visible_{name}": loss / value for name, value in self._guesses.items() if value}
        return guesses | ratios

    def _guess(self, judged: Sequence[int]) -> dict[str, float]:
        """Masked L1 of what anyone could guess, with the squares hidden that are hidden from the model."""
        random, totals, numbers = generator(self.seed, "validation", 0), dict.fromkeys(_GUESSES, 0.0), 0
        for start in range(0, len(judged), _GUESSED_AT_ONCE):
            batch = self.valid.batch(judged[start : start + _GUESSED_AT_ONCE], random)
            pixels, hidden = batch["pixel_values"], self.valid.grid.pixels(batch["bool_masked_pos"])
            for name, guess in _GUESSES.items():
                total, number = masked_l1(guess(pixels, hidden), pixels, hidden)
                totals[name] += float(total)
            numbers += number
        return {name: total / numbers for name, total in totals.items()}

    def draw(self, model: PreTrainedModel, path: Path) -> None:
        """Real, with its hidden squares, and these filled in, side by side."""
        pixels, masks = self._shown["pixel_values"], self._shown["bool_masked_pos"]
        with torch.no_grad():
            filled = fill_in(model, pixels.to(model.device), masks.to(model.device))
        processor, hidden = self.valid.pictures.processor, self.valid.grid.pixels(masks).numpy()
        save_picture(path, panel(to_uint8(pixels, processor), to_uint8(filled, processor), hidden, 3 * _PANEL_TRIPLES))

    def samples(self, model: PreTrainedModel) -> dict[str, Any]:
        return {"reconstructions.png": lambda path: self.draw(model, path)}

    def save_pretrained(self, folder: Any) -> None:
        """What lies beside the weights: the picture, of the weights that are saved."""
        self.draw(self.model, Path(folder) / "reconstructions.png")


def masked_loss(grid: MaskGrid, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """SimMIM's: absolute errors on hidden pixels, and their number."""
    pixels, masks = batch["pixel_values"], batch["bool_masked_pos"]
    total, number = masked_l1(fill_in(model, pixels, masks), pixels, grid.pixels(masks))
    return total, torch.tensor(number)


def _inputs(folder: Path, config: ToCEncoderConfig) -> dict[str, Path]:
    return {name: folder / name for name in (f"toc_dataset@{config.dataset_size}", "paper_texts")}


def _open(folder: Path, config: ToCEncoderConfig, reporter: Reporter) -> Task:
    dataset = folder / f"toc_dataset@{config.dataset_size}"
    model, processor = _new(config) if config.start_from is None else _loaded(config.start_from, config)
    pictures = Pictures(dataset, processor)
    pairs = join(read_paper_texts(folder / "paper_texts"), pictures, str(dataset), allow_unknown_licence=config.allow_unknown_licence)
    grid = MaskGrid(int(model.config.image_size), config.mask_px, patch_px(model))
    train, valid = (
        MaskedPictures(pictures_of(pairs.by_split[split]), pictures, grid, config, varies=split == "train") for split in ("train", "valid")
    )
    reporter.log(f"toc_encoder: {len(train):,} pictures to learn from, {len(valid):,} held out; papers: {pairs.words}")
    shown = Reconstructions(model, valid, train, config)
    shape = (-1, 3, grid.side_px, grid.side_px)
    patches = Field("bool_masked_pos", "bool", (-1, (grid.side_px // grid.patch_px) ** 2))
    return Task(
        model,
        train,
        valid,
        lambda network, batch: masked_loss(grid, network, batch),
        samples=shown.samples,
        measure=shown.measure,
        savers=[processor, shown],
        buckets=False,
        counts=pairs.counts,
        limits=_LIMITS,
        pipeline="image-feature-extraction",
        size=f"{model.config.model_type} {grid.side_px} px",
        signature=Signature((Field("pixel_values", "float32", shape), patches), (Field("reconstruction", "float32", shape),)),
    )


def _new(config: ToCEncoderConfig) -> tuple[PreTrainedModel, Any]:
    sizes = {"image_px": config.image_px, "patch_px": config.patch_px, "width": config.width, "layers": config.layers, "heads": config.heads}
    return new_masked_model(config.architecture, **sizes, dropout=config.dropout), new_processor(config.image_px)


def _loaded(start: str, config: ToCEncoderConfig) -> tuple[PreTrainedModel, Any]:
    dropouts = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), config.dropout)
    # Its kind is asked first: transformers would say of a BEiT only that it does not know how.
    found = config_of(start)
    if found is not None:
        check_masked_model(found.model_type, start)
    return load_model(start, AutoModelForMaskedImageModeling, **dropouts), load_processor(start)


JOB = fine_tuning_job("toc_encoder", "training.words.captions.train_encoder", ToCEncoderConfig, _inputs, _open)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_encoder`; see training/words/hf_job.py for what it does and stages/program.py for flags and exit codes."""
    return run_fine_tuning(JOB, __doc__, argv, expected=(ImageSetError, TextTableError))


if __name__ == "__main__":
    sys.exit(main())
