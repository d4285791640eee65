"""The pictures of a dataset as an encoder sees them, and the titles of `paper_texts` that belong to them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from formats.image_shards import ImageShards
from formats.tables import read_table
from formats.text_tables import SPLITS, PaperText, read_paper_texts
from training.fine_tuning.examples import NO_LABEL, TuningError
from training.fine_tuning.generation import Generation, generate

_AT_ONCE = 16
# Decoded pictures that were shown last are kept up to this much memory.
_KEPT_BYTES = 1 << 30
# A crop is at most this far from square, as in SimMIM.
_MOST_ASPECT = 4 / 3


class Pictures:
    """The set of pictures in `folder`, e.g. data/toc_dataset@128, made into what the encoder takes by its own image processor.

    processor: of transformers; it resizes, so pictures of any size will do. Grey ones get three equal channels. Raises ImageSetError and TuningError.
    """

    def __init__(self, folder: Path, processor: Any) -> None:
        self.processor, self._shards = processor, ImageShards(folder)
        places = {name: place for place, name in enumerate(self._shards.names)}
        try:
            rows = read_table(folder / "index.parquet", ["sha256", "member"]).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise TuningError(f"{folder}/index.parquet: cannot be read ({error}); make it first: figment materialize {folder.name}") from None
        self._places = {row["sha256"]: places[row["member"]] for row in rows if row["member"] in places}
        self._decoded = lru_cache(_KEPT_BYTES // (3 * self._shards.resolution**2))(self._shards.image)

    def __contains__(self, sha256: str | None) -> bool:
        return sha256 in self._places

    def image(self, sha256: str) -> Image.Image:
        """The picture as it is stored, RGB."""
        pixels = self._decoded(self._places[sha256]).transpose(1, 2, 0)
        return Image.fromarray(numpy.ascontiguousarray(numpy.broadcast_to(pixels, (*pixels.shape[:2], 3))))

    def tensor(self, images: Sequence[Image.Image]) -> Tensor:
        """Pictures of any size as float32 [B, 3, P, P], resized and normalised by the processor."""
        pixels: Tensor = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels


def varied(image: Image.Image, random: torch.Generator, *, least_crop: float) -> Image.Image:
    """A random rectangle of `least_crop` to 1 of the picture's area, no wider or higher than it; never mirrored, for there is writing in it."""
    if least_crop < 1:
        share, shape, across, down = torch.rand(4, generator=random).tolist()
        area = (least_crop + (1 - least_crop) * share) * image.width * image.height
        aspect = _MOST_ASPECT ** (2 * shape - 1)
        width, height = min(image.width, max(1, round((area * aspect) ** 0.5))), min(image.height, max(1, round((area / aspect) ** 0.5)))
        left, top = round(across * (image.width - width)), round(down * (image.height - height))
        image = image.crop((left, top, left + width, top + height))
    return image


def to_uint8(pixels: Tensor, processor: Any) -> numpy.ndarray:
    """What `Pictures.tensor` or a reconstruction gave as pixels people can look at: uint8 [B, 3, P, P]."""
    mean, deviation = (torch.tensor(values).view(1, -1, 1, 1) for values in (processor.image_mean, processor.image_std))
    shown: numpy.ndarray = ((pixels.cpu().float() * deviation + mean) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return shown


@dataclass(frozen=True)
class Pairs:
    """by_split: papers with a title and a picture that is there, by serial. set_aside: how many are not, as `set_aside_<reason>`."""

    pictures: Pictures
    by_split: dict[str, list[PaperText]]
    set_aside: Counter[str]

    def __str__(self) -> str:
        counts = {**{split: len(papers) for split, papers in self.by_split.items()}, **self.set_aside}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def read_pairs(data: Path, size: int, processor: Any) -> Pairs:
    """The pictures of toc_dataset@SIZE and their papers. Raises ImageSetError, TextTableError, and TuningError when the training has no pair."""
    dataset = data / f"toc_dataset@{size}"
    pairs = Pairs(Pictures(dataset, processor), {split: [] for split in SPLITS}, Counter())
    for paper in read_paper_texts(data / "paper_texts"):
        if paper.image_sha256 is None or paper.image_sha256 not in pairs.pictures:
            pairs.set_aside["set_aside_no_picture" if paper.image_sha256 is None else "set_aside_picture_missing"] += 1
        else:
            pairs.by_split[paper.split].append(paper)
    if not pairs.by_split["train"]:
        raise TuningError(f"{dataset}: no paper of the training split has its picture there ({pairs}); crawl more, or look at the licences")
    return pairs


class TitledPictures:
    """Pairs as batches: `pixel_values` float32 [B, 3, P, P] and `labels` int64 [B, T], the title's tokens and the end, NO_LABEL behind it.

    max_tokens: of a title with its end; longer ones are set aside and counted in `too_long`.
    """

    def __init__(self, papers: Sequence[PaperText], pictures: Pictures, tokenizer: Any, max_tokens: int) -> None:
        self.pictures = pictures
        rows = [(paper, [*tokenizer(paper.title, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]) for paper in papers]
        kept = [(paper, ids) for paper, ids in rows if len(ids) <= max_tokens]
        self.papers, self._ids = [paper for paper, _ in kept], [ids for _, ids in kept]
        self.too_long = len(rows) - len(kept)

    def __len__(self) -> int:
        return len(self.papers)

    def lengths(self) -> list[int]:
        """Tokens of each title with its end."""
        return [len(ids) for ids in self._ids]

    def batch(self, indices: Sequence[int], random: torch.Generator) -> dict[str, Tensor]:
        """The pairs at these places. random: nothing is drawn."""
        del random
        labels = torch.nn.utils.rnn.pad_sequence([torch.tensor(self._ids[index]) for index in indices], batch_first=True, padding_value=NO_LABEL)
        images = [self.pictures.image(self.papers[index].image_sha256 or "") for index in indices]
        return {"pixel_values": self.pictures.tensor(images), "labels": labels}


def write_titles(model: PreTrainedModel, tokenizer: Any, pictures: Pictures, names: Sequence[str]) -> list[str]:
    """A title for each picture of these SHA-256 names, by the search that the model's generation_config asks for; beams draw nothing."""
    saved: Any = model.generation_config
    beams = {"beams": saved.num_beams, "no_repeat_ngram": saved.no_repeat_ngram_size, "length_penalty": saved.length_penalty}
    settings, titles = Generation("beam", **beams, max_new_tokens=saved.max_new_tokens), []
    for start in range(0, len(names), _AT_ONCE):
        pixels = pictures.tensor([pictures.image(name) for name in names[start : start + _AT_ONCE]])
        titles += [texts[0] for texts in generate(model, tokenizer, {"pixel_values": pixels}, settings, seed=0)]
    return titles
