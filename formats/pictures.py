"""Turn the bytes of any picture a journal may serve into plain RGB, or say why not; the one decoder of every dataset and program.

Foreign bytes are hostile until shown otherwise: only listed formats are opened, by content and never by name; size in bytes, pixels and frames is
bounded before anything is decoded; a file that ends too early is broken, not half a picture. Colour profiles are not applied.
"""

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
from PIL import ExifTags, Image, ImageOps

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# By the name used in params.yaml and in the index: (what Pillow calls it, extension).
FORMATS = {
    "png": ("PNG", "png"),
    "jpeg": ("JPEG", "jpg"),
    "gif": ("GIF", "gif"),
    "webp": ("WEBP", "webp"),
    "bmp": ("BMP", "bmp"),
    "tiff": ("TIFF", "tif"),
}
# Pillow itself warns above this many, a bound nobody should raise.
MOST_PIXELS = 89_478_485

AS_STORED = "as stored"  # `decoded_as` of a picture that was 8-bit RGB already

_MULTI_PICTURE_JPEG = "MPO"  # A JPEG with more pictures behind the first, as some cameras write it.
_NAMES = {pillow: name for name, (pillow, _) in FORMATS.items()} | {_MULTI_PICTURE_JPEG: "jpeg"}
_WIDE_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
# How much of a level of a grey PNG of few bits its transparent colour must be scaled by, as its pixels are.
_GREY_STEP = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class DecodeLimits:
    """What a picture may be at most, and must be at least.

    max_pixels: of one frame. max_frames: of an animation, of which only the first frame is used. min_side_px: shorter side.
    formats: names from FORMATS.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 40_000_000
    max_frames: int = 1_000
    min_side_px: int = 32
    formats: tuple[str, ...] = tuple(FORMATS)

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "max_frames", "min_side_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.max_pixels > MOST_PIXELS:
            raise ValueError(f"max_pixels must be at most {MOST_PIXELS:,}, found {self.max_pixels:,}: a larger picture is more likely a trap")
        unknown = sorted(set(self.formats) - set(FORMATS))
        if unknown or not self.formats:
            raise ValueError(f"formats must name some of {', '.join(FORMATS)}; found {', '.join(unknown) or 'none'}")


# For what was judged before: narrower limits are a matter of the stage that let it in.
NO_LIMITS = DecodeLimits(max_bytes=1 << 31, max_pixels=MOST_PIXELS, max_frames=1 << 31, min_side_px=1)


@dataclass(frozen=True)
class Decoded:
    """A picture as it is to be seen.

    image: RGB, alpha composited on white. mode: how the file stores its pixels, as Pillow calls it.
    width, height: of `image`, so after the rotation that EXIF asks for. decoded_as: every step that was more than reading, in words.
    """

    image: "Picture"
    decoded_as: str
    format: str
    mode: str
    width: int
    height: int

    @property
    def pixels(self) -> numpy.ndarray:
        """uint8 [H, W, 3], a copy."""
        return numpy.array(self.image)


class Undecodable(Exception):
    """These bytes are no picture that may be used. reason: one of a few fixed words, for counting; words: what was found and expected."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(f"{reason}: {words}")
        self.reason, self.words = reason, words


def decode(data: bytes, *, limits: DecodeLimits) -> Decoded:
    """The picture in `data`. Raises Undecodable; never lets a foreign file decide how much memory or time it takes."""
    if len(data) > limits.max_bytes:
        raise Undecodable("too_many_bytes", f"{len(data):,} bytes, at most {limits.max_bytes:,} are allowed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What Pillow only warns of (odd EXIF, odd TIFF tags) does not change the pixels.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # The header is judged first; what is then decoded must be there to its last byte, because Pillow refuses a file that ends too early.
        with _open(data, limits) as image:
            name = _NAMES[image.format or ""]
            frames = _check_size(image, data, name, limits)
            mode, raw_mode = image.mode, _raw_mode(image)
            steps: list[str] = []
            try:
                upright = _load_upright(image, steps)
                rgb = _to_rgb(upright, raw_mode, steps)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - Pillow raises nearly anything on a damaged file, and the file is to blame
                raise Undecodable("broken", f"{name}, {image.width}×{image.height}: {_first_line(error)}") from None
    if frames > 1:
        steps.append(f"first of {frames} frames")
    return Decoded(rgb, ", ".join(steps) or AS_STORED, name, mode, rgb.width, rgb.height)


def extension_of(name: str) -> str:
    """The file extension of a format from FORMATS, without the dot."""
    return FORMATS[name][1]


def _open(data: bytes, limits: DecodeLimits) -> "Picture":
    try:
        return Image.open(io.BytesIO(data), formats=[FORMATS[name][0] for name in limits.formats])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Undecodable("too_many_pixels", f"more than {MOST_PIXELS:,} pixels, at most {limits.max_pixels:,} are allowed") from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - as in `decode`
        found = _sniff(data)
        if found in FORMATS and found in limits.formats:
            raise Undecodable("broken", f"{found} whose beginning cannot be read: {_first_line(error)}") from None
        if found in FORMATS or found in _OTHER_PICTURES:
            raise Undecodable("format_not_allowed", f"found {found}, expected {', '.join(limits.formats)}") from None
        raise Undecodable("not_an_image", f"found {found}, expected {', '.join(limits.formats)}") from None


def _check_size(image: "Picture", data: bytes, name: str, limits: DecodeLimits) -> int:
    """The number of frames, as far as `max_frames` + 1; everything here is read from headers."""
    # Bytes, pixels and frames bound the work, in the order in which they cost anything to find out.
    width, height = image.size
    if width * height > limits.max_pixels:
        raise Undecodable("too_many_pixels", f"{width}×{height} is {width * height:,} pixels, at most {limits.max_pixels:,} are allowed")
    if min(width, height) < limits.min_side_px:
        raise Undecodable("too_small", f"{width}×{height} pixels, the shorter side must have at least {limits.min_side_px}")
    frames = _gif_frames(data, limits.max_frames + 1) if name == "gif" else _frames(image, name)
    if frames > limits.max_frames:
        raise Undecodable("too_many_frames", f"{name} of more than {limits.max_frames:,} frames")
    return frames


def _frames(image: "Picture", name: str) -> int:
    # Pages of a TIFF and the further pictures of a JPEG are no animation, and counting the former means walking through the file.
    return int(getattr(image, "n_frames", 1)) if name in ("png", "webp") else 1


def _gif_frames(data: bytes, most: int) -> int:
    """Frames of a GIF, counted without decoding any and no further than `most`. Source: GIF89a specification, §18 to §26."""
    # Header and logical screen descriptor have 13 bytes; then blocks follow, each a chain of sub-blocks that ends with an empty one.
    place = 13 + _colour_table_bytes(data[10:11])
    frames = 0
    while frames < most and place < len(data):
        if data[place] == 0x2C:  # image descriptor
            frames += 1
            place += 11 + _colour_table_bytes(data[place + 9 : place + 10])
        elif data[place] == 0x21:  # extension
            place += 2
        else:  # trailer, or bytes that should not be here
            break
        while place < len(data) and data[place]:
            place += 1 + data[place]
        place += 1
    return frames


def _colour_table_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _raw_mode(image: "Picture") -> str:
    """How the samples lie in the file, such as RGB;16B; empty where Pillow does not say."""
    for tile in getattr(image, "tile", []):
        arguments: Any = tile[3]
        first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        return first if isinstance(first, str) else ""
    return ""


def _load_upright(image: "Picture", steps: list[str]) -> "Picture":
    # Loading a TIFF turns it already, and forgets that it did; every other format is turned here.
    is_turned_by_loading = image.format == "TIFF"
    orientation = _orientation(image) if is_turned_by_loading else 1
    image.load()
    if not is_turned_by_loading:
        orientation = _orientation(image)
    if orientation not in range(2, 9):
        return image
    steps.append(f"EXIF rotation {orientation}")
    return image if is_turned_by_loading else ImageOps.exif_transpose(image)


def _orientation(image: "Picture") -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - EXIF that cannot be read asks for nothing
        return 1


def _to_rgb(image: "Picture", raw_mode: str, steps: list[str]) -> "Picture":
    mode = image.mode
    if mode in _WIDE_GREY or mode in ("I", "F"):
        return _scaled_grey(image, steps)
    if mode == "CMYK":
        # Adobe's programs store CMYK inverted in JPEG, and every reader, Pillow included, takes all CMYK JPEGs for theirs.
        steps.append("CMYK, inverted as Adobe does" if image.format == "JPEG" else "CMYK")
        return image.convert("RGB")
    if mode in ("P", "PA"):
        steps.append("palette")
    elif mode in ("1", "L", "LA", "La") or raw_mode.startswith("LA"):
        steps.append("grey")
    elif mode not in ("RGB", "RGBA", "RGBX", "RGBa", "YCbCr"):
        raise ValueError(f"pixels of the kind {mode} are not understood")
    if raw_mode.endswith(("16B", "16L", "16N")):
        steps.append("16 bits scaled to 8")
    _scale_transparent_colour(image, raw_mode)
    if not image.has_transparency_data:
        return image if mode == "RGB" else image.convert("RGB")
    steps.append("alpha on white")
    return _on_white(image.convert("RGBA"))


def _scale_transparent_colour(image: "Picture", raw_mode: str) -> None:
    """PNG states its transparent colour in the file's own depth; Pillow's pixels have 8 bits."""
    colour = image.info.get("transparency")
    if isinstance(colour, int) and raw_mode in _GREY_STEP:
        image.info["transparency"] = colour * _GREY_STEP[raw_mode] & 0xFF
    elif isinstance(colour, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in colour)


def _on_white(image: "Picture") -> "Picture":
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image)
    return white


def _scaled_grey(image: "Picture", steps: list[str]) -> "Picture":
    """Grey of more than 8 bits as RGB: 16 bits over their whole range, wider ones (which have no fixed white) over the range they use."""
    # Which level is transparent is stated in the file's own depth, so it is looked for before scaling.
    levels = numpy.asarray(image)
    transparent = image.info.get("transparency")
    clear = levels == transparent if isinstance(transparent, int) and image.mode in _WIDE_GREY else None
    if image.mode in _WIDE_GREY or (image.mode == "I" and levels.min() >= 0 and levels.max() <= 0xFFFF):
        steps += ["grey", "16 bits scaled to 8"]
        grey = (levels.astype(numpy.uint32) * 255 + 0x7FFF) // 0xFFFF
    else:
        steps += ["grey", "own range scaled to 8 bits"]
        finite = numpy.isfinite(levels)
        low, high = (float(levels[finite].min()), float(levels[finite].max())) if finite.any() else (0.0, 0.0)
        span = (high - low) or 1.0
        grey = numpy.rint(numpy.where(finite, (levels.astype(numpy.float64) - low) / span * 255, 255))
    grey = grey.astype(numpy.uint8)
    if clear is not None:
        steps.append("alpha on white")
        grey[clear] = 255
    return Image.fromarray(grey).convert("RGB")


_OTHER_PICTURES = ("SVG", "AVIF or HEIC", "Photoshop", "icon", "JPEG 2000", "EPS")
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\x01\0", "icon"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"%!PS", "EPS"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip"),
)


def _sniff(data: bytes) -> str:
    """What the bytes look like, for words and for telling a damaged picture from none."""
    if not data:
        return "nothing"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return "AVIF or HEIC"
    for beginning, name in _BEGINNINGS:
        if data.startswith(beginning):
            return name
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "SVG"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "HTML"
    return "XML" if head.startswith(b"<?xml") else "unknown bytes"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
