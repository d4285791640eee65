"""The usual way from pictures to a StyleGAN dataset, step by step, with nothing loaded that the steps do not need.

    python -m bench.plain_dataset_tool pad FOLDER FOLDER 512      # each picture in the middle of a white square, saved as PNG
    python -m bench.plain_dataset_tool zip FOLDER FILE.zip 256    # those, as a dataset tool is described to do it

Every picture is decoded anew for each size, as such a tool does.
"""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy
from PIL import Image


def pad(source: Path, target: Path, canvas_px: int) -> None:
    """What people do first: every picture in the middle of a white square, saved as PNG with Pillow's own settings."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        side = max(canvas_px, *picture.size)
        canvas = Image.new("RGB", (side, side), "white")
        canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        canvas.save(target / f"{path.stem}.png")


def make_zip(source: Path, target: Path, size: int) -> None:
    """Numbered pictures, LANCZOS, PNGs that are not compressed, in a stored zip, dataset.json last."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for number, path in enumerate(sorted(source.rglob("*.png"))):
            with Image.open(path) as image:
                pixels = numpy.array(image)
            resized = Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS)
            stream = io.BytesIO()
            resized.save(stream, format="png", compress_level=0, optimize=False)
            digits = f"{number:08d}"
            archive.writestr(f"{digits[:5]}/img{digits}.png", stream.getbuffer())
        archive.writestr("dataset.json", json.dumps({"labels": None}))


if __name__ == "__main__":
    step, source, target, pixels = sys.argv[1:]
    {"pad": pad, "zip": make_zip}[step](Path(source), Path(target), int(pixels))
