"""The pictures of a dataset as an encoder sees them, by the SHA-256 of their originals; and pictures as people see them again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from formats.image_shards import ImageShards
from formats.tables import read_table
from training.words.examples import WordsError

# Decoded pictures are kept up to this much memory; those beyond it are decoded each time they are shown.
_KEPT_BYTES = 1 << 30
# Of a crop, as in SimMIM: its share of the picture's area is at least the configured one, its shape at most this far from square.
_MOST_ASPECT = 4 / 3


class Pictures:
    """The set of pictures in `folder`, e.g. data/toc_dataset@128, made into what the encoder takes by its own image processor.

    processor: a Pillow processor of transformers; it resizes, so pictures of any size will do. Grey ones are shown in three equal channels.
    Raises ImageSetError, and WordsError for a folder without index.parquet.
    """

    def __init__(self, folder: Path, processor: Any) -> None:
        self.processor = processor
        self._shards = ImageShards(folder)
        places = {name: place for place, name in enumerate(self._shards.names)}
        try:
            rows = read_table(folder / "index.parquet", ["sha256", "member"]).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise WordsError(f"{folder}/index.parquet: cannot be read ({error}); make it first: figment materialize {folder.name}") from None
        self._places = {row["sha256"]: places[row["member"]] for row in rows if row["member"] in places}
        self._kept: dict[int, numpy.ndarray] = {}
        self._room = _KEPT_BYTES // (3 * self._shards.resolution**2)

    def __contains__(self, sha256: str | None) -> bool:
        return sha256 in self._places

    def __len__(self) -> int:
        return len(self._places)

    def image(self, sha256: str) -> Image.Image:
        """The picture as it is stored, RGB."""
        place = self._places[sha256]
        pixels = self._kept.get(place)
        if pixels is None:
            pixels = self._shards.image(place).transpose(1, 2, 0)
            pixels = numpy.ascontiguousarray(numpy.broadcast_to(pixels, (*pixels.shape[:2], 3)))
            if len(self._kept) < self._room:
                self._kept[place] = pixels
        return Image.fromarray(pixels)

    def tensor(self, images: Sequence[Image.Image]) -> Tensor:
        """Pictures of any size as float32 [B, 3, P, P], resized and normalised by the processor."""
        pixels: Tensor = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels


def varied(image: Image.Image, random: torch.Generator, *, least_crop: float, flip: bool) -> Image.Image:
    """A random rectangle of at least `least_crop` of the picture's area; with `flip`, mirrored half of the time."""
    if least_crop < 1:
        image = image.crop(random_box(*image.size, least_crop, random))
    if flip and float(torch.rand(1, generator=random)) < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def random_box(width: int, height: int, least_area: float, random: torch.Generator) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a random rectangle with `least_area` to 1 of the area, cut where it would be wider or higher than the picture."""
    share, shape, across, down = torch.rand(4, generator=random).tolist()
    area = (least_area + (1 - least_area) * share) * width * height
    aspect = _MOST_ASPECT ** (2 * shape - 1)
    box_width, box_height = (min(side, max(1, round(length))) for side, length in ((width, (area * aspect) ** 0.5), (height, (area / aspect) ** 0.5)))
    left, top = round(across * (width - box_width)), round(down * (height - box_height))
    return left, top, left + box_width, top + box_height


def to_uint8(pixels: Tensor, processor: Any) -> numpy.ndarray:
    """What `Pictures.tensor` or a reconstruction gave, [B, 3, P, P], as pixels people can look at: uint8 [B, 3, P, P]."""
    mean, deviation = (torch.tensor(values).view(1, -1, 1, 1) for values in (processor.image_mean, processor.image_std))
    shown: numpy.ndarray = ((pixels.cpu().float() * deviation + mean) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return shown


def new_processor(side_px: int) -> Any:
    """A processor that makes pictures `side_px` wide and high and brings them to [-1, 1]. It needs Pillow only, and every transformers loads it."""
    import transformers

    # From version 5 on this name is the one without torchvision; it saves itself under the name that version 4 knows as well.
    kind = getattr(transformers, "ViTImageProcessorPil", None) or transformers.ViTImageProcessor
    return kind(size={"height": side_px, "width": side_px}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def load_processor(name_or_path: str | Path) -> Any:
    """The image processor beside a model. Raises WordsError where there is none that works with Pillow alone."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(str(name_or_path))
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WordsError(
            f"{name_or_path}: transformers finds no image processor here ({reason}); it is preprocessor_config.json beside the weights"
        ) from None
