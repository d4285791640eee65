"""The stage that films a generator: how it came to draw what it draws, and walks through what it can draw.

training.mp4 shows the snapshots of the training one after the other: the same pictures, more and more kimg. A walk that ends where it began can be
played for ever. poster.png is the last picture of the training.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from formats.video import Codec, write_gif, write_video
from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.gans.drawing import DrawingError
from training.gans.grids import SnapshotIndex, load_picture, save_picture, tile
from training.gans.seed_ranges import parse_seeds
from training.loop.bounds import above, at_least

# Small pictures are shown larger, so that a player's smoothing does not wash them out.
_LEAST_WIDTH_PX, _LEAST_HEIGHT_PX = 640, 360
_LABEL_HEIGHT_PX = 24
_END_HELD_S = 1.5
# A GIF has to be loaded whole.
_MOST_GIF_WIDTH_PX = 640


@dataclass(frozen=True)
class FilmConfig(ABC):
    """How films look. Those who inherit it say in `keys` and `frame_count` how long a walk is.

    fps: of all. snapshot_s: how long each snapshot stays; label: write its kimg above it.
    seeds, grid: pictures of a walk, [columns, rows] of them at once. gif, png: beside each walk the same as GIF, and its single frames.
    most_width_px: wider pictures are made smaller. codec, quality: see formats/video.py.
    """

    fps: int = 30
    snapshot_s: float = 0.2
    label: bool = True
    seeds: str = "0-31"
    grid: tuple[int, ...] = (4, 2)
    psi: float = 0.8
    gif: bool = False
    png: bool = False
    batch_size: int = 32
    most_width_px: int = 1920
    codec: Codec = "vp9"
    quality: int = 20

    def __post_init__(self) -> None:
        at_least(self, 1, "fps", "batch_size", "most_width_px")
        above(self, 0, "snapshot_s")
        if len(self.grid) != 2 or min(self.grid) < 1:
            raise ValueError(f"grid must be [columns, rows], found {list(self.grid)}")
        if len(parse_seeds(self.seeds)) < self.places * self.keys:
            raise ValueError(
                f"seeds {self.seeds!r} are fewer than the {self.places * self.keys} that a grid of {self.grid[0]} by {self.grid[1]} places with "
                f"{self.keys} latents each takes; name more"
            )

    @property
    @abstractmethod
    def keys(self) -> int:
        """Latents that each place of the grid passes."""

    @property
    @abstractmethod
    def frame_count(self) -> int:
        """Of a walk."""

    @property
    def places(self) -> int:
        """Pictures of one frame of a walk."""
        return self.grid[0] * self.grid[1]

    @property
    def walk_seeds(self) -> list[int]:
        """Those of the keys: first of all places at the first one, then at the second, …"""
        return parse_seeds(self.seeds)[: self.places * self.keys]


@dataclass(frozen=True)
class VideoConfig(FilmConfig):
    """keyframes: of each place in the grid; w_frames: frames from one to the next."""

    keyframes: int = 4
    w_frames: int = 60
    class_index: int | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "keyframes", "w_frames")
        super().__post_init__()

    @property
    def keys(self) -> int:
        return self.keyframes

    @property
    def frame_count(self) -> int:
        return self.keyframes * self.w_frames


@dataclass(frozen=True)
class Walk:
    """path: points [places, …] of the latent space, `frame_count` of them. draw: some such points to uint8 [B, C, R, R]."""

    path: Iterable[Tensor]
    draw: Callable[[Tensor], numpy.ndarray]


# From the images seen at a snapshot to what is written above it.
Label = Callable[[int], str]


def kimg_label(images: int) -> str:
    return f"{images / 1000:g} kimg"


def write_films(
    stage: str,
    model: Path,
    walks: Mapping[str, Walk],
    config: FilmConfig,
    *,
    output: OutputFolder,
    reporter: Reporter,
    label: Label = kimg_label,
) -> None:
    """Write training.mp4, poster.png and a film for each walk, and tell how long they are. Raises DrawingError for a model without snapshots."""
    counts = {"training.mp4": _write_mp4(output.file("training.mp4"), snapshot_frames(model, config, label), config)}
    for name, walk in walks.items():
        shown = reporter.progress(walk_frames(walk, config), total=config.frame_count, what=f"{stage}: frames of {name}")
        counts[f"{name}.mp4"] = _write_walk(output, name, shown, config)
    *_, last = snapshot_frames(model, config, label)
    save_picture(output.file("poster.png"), last)
    seconds = {name: round(count / config.fps, 2) for name, count in counts.items()}
    reporter.metadata(frames=counts, seconds=seconds)
    reporter.log(f"{stage}: " + ", ".join(f"{name} {count} frames, {seconds[name]:g} s" for name, count in counts.items()))


def _write_mp4(path: Path, frames: Iterable[numpy.ndarray], config: FilmConfig) -> int:
    return write_video(path, frames, fps=config.fps, codec=config.codec, quality=config.quality)


def _write_walk(output: OutputFolder, name: str, frames: Iterable[numpy.ndarray], config: FilmConfig) -> int:
    """Every form is made of the same frames, as they pass."""
    small: list[numpy.ndarray] = []

    def passing() -> Iterator[numpy.ndarray]:
        for number, frame in enumerate(frames):
            if config.png:
                # As FFmpeg and its users number frames.
                save_picture(output.file(f"{name}/interpolation_{number:05d}.png"), frame)
            if config.gif:
                small.append(fitted(frame, _MOST_GIF_WIDTH_PX))
            yield frame

    count = _write_mp4(output.file(f"{name}.mp4"), passing(), config)
    if config.gif:
        write_gif(output.file(f"{name}.gif"), small, fps=config.fps)
    return count


def snapshot_frames(model: Path, config: FilmConfig, label: Label = kimg_label) -> Iterator[numpy.ndarray]:
    """uint8 [H, W, 3], each snapshot held for `snapshot_s`, the last one longer. Raises DrawingError without snapshots."""
    index = SnapshotIndex.read(model / "snapshots" / "index.json")
    if not index.snapshots:
        raise DrawingError(f"{model / 'snapshots'}: no snapshot; train with a smaller snap")
    held = max(1, round(config.snapshot_s * config.fps))
    for number, row in enumerate(index.snapshots):
        picture = fitted(load_picture(model / "snapshots" / row["file"]), config.most_width_px)
        frame = labelled(picture, label(row["images"])) if config.label else picture
        is_last = number == len(index.snapshots) - 1
        for _ in range(held + (round(_END_HELD_S * config.fps) if is_last else 0)):
            yield frame


def walk_frames(walk: Walk, config: FilmConfig) -> Iterator[numpy.ndarray]:
    """uint8 [H, W, 3] for each moment of a walk: one picture for each place of the grid.

    Values become grey levels in one way for all frames; a picture is never stretched to its own darkest and lightest.
    """
    for moment in walk.path:
        drawn = numpy.concatenate([walk.draw(part) for part in moment.split(config.batch_size)])
        yield fitted(tile(drawn, config.grid[0]), config.most_width_px)


def closed_walk(keys: Tensor, frames_between: int) -> Iterator[Tensor]:
    """Points of a cubic spline through keys [K, …], `frames_between` from each key to the next and from the last back to the first.

    Its first and second derivatives are continuous everywhere, the seam included. One key alone stands still.
    """
    from scipy.interpolate import CubicSpline

    K = len(keys)
    if K == 1:
        yield from (keys[0] for _ in range(frames_between))
        return
    # Coordinate by coordinate, in double precision; key K is key 0 again.
    closed = torch.cat([keys, keys[:1]]).double().numpy()
    spline = CubicSpline(numpy.arange(K + 1), closed, bc_type="periodic", axis=0)
    for frame in range(K * frames_between):
        yield torch.from_numpy(spline(frame / frames_between)).to(keys.dtype)


def fitted(picture: numpy.ndarray, most_width_px: int) -> numpy.ndarray:
    """uint8 [H, W, 3]: each pixel of a small picture repeated until it is at least 640 wide or 360 high; one too wide made smaller, by areas."""
    if picture.shape[1] > most_width_px:
        from PIL import Image

        size = most_width_px, max(1, round(picture.shape[0] * most_width_px / picture.shape[1]))
        return numpy.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    times = max(1, min(-(-_LEAST_WIDTH_PX // picture.shape[1]), -(-_LEAST_HEIGHT_PX // picture.shape[0])))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def labelled(picture: numpy.ndarray, text: str) -> numpy.ndarray:
    """`picture` with a white strip above it that says `text`."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (picture.shape[1], _LABEL_HEIGHT_PX), "white")
    ImageDraw.Draw(strip).text((6, 3), text, fill="black", font=ImageFont.load_default(size=16))
    return numpy.concatenate([numpy.asarray(strip), picture])
