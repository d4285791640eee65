"""The stage that films a generator: how it came to draw what it draws, and a walk through what it can draw.

training.mp4 shows the snapshots of the training one after the other: the same pictures, more and more kimg. interpolation.mp4 goes smoothly through
keyframes and ends where it began, so it can be played for ever. poster.png is the last picture of the training.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from formats.video import Codec, write_video
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


@dataclass(frozen=True)
class VideoConfig:
    """How both videos look.

    fps: of both. snapshot_s: how long each snapshot stays; label: write its kimg above it.
    seeds, grid: pictures of the walk, [columns, rows] of them at once. keyframes: of each place in the grid; w_frames: frames from one to the next.
    most_width_px: wider pictures are made smaller. codec, quality: see formats/video.py.
    """

    fps: int = 30
    snapshot_s: float = 0.2
    label: bool = True
    seeds: str = "0-31"
    grid: tuple[int, ...] = (4, 2)
    keyframes: int = 4
    w_frames: int = 60
    psi: float = 0.8
    class_index: int | None = None
    batch_size: int = 32
    most_width_px: int = 1920
    codec: Codec = "h264"
    quality: int = 20

    def __post_init__(self) -> None:
        at_least(self, 1, "fps", "keyframes", "w_frames", "batch_size", "most_width_px")
        above(self, 0, "snapshot_s")
        if len(self.grid) != 2 or min(self.grid) < 1:
            raise ValueError(f"grid must be [columns, rows], found {list(self.grid)}")
        if len(parse_seeds(self.seeds)) < self.places * self.keyframes:
            raise ValueError(f"seeds {self.seeds!r} are fewer than the {self.places * self.keyframes} that grid and keyframes take; name more")

    @property
    def places(self) -> int:
        """Pictures of one frame of the walk."""
        return self.grid[0] * self.grid[1]

    @property
    def walk_seeds(self) -> list[int]:
        """Those of the keyframes: first of all places at the first one, then at the second, …"""
        return parse_seeds(self.seeds)[: self.places * self.keyframes]


@dataclass(frozen=True)
class Walk:
    """keys: a point of the latent space for each of `VideoConfig.walk_seeds`. draw: some such points to uint8 [B, C, R, R]."""

    keys: Tensor
    draw: Callable[[Tensor], numpy.ndarray]


def make_videos(stage: str, model: Path, walk: Walk, config: VideoConfig, *, data: Path, reporter: Reporter) -> None:
    """Write data/<stage> and tell how long the videos are. Raises DrawingError for a model without snapshots."""
    with OutputFolder(data / stage) as output:
        frames = {"training.mp4": snapshot_frames(model, config)}
        total = config.keyframes * config.w_frames
        frames["interpolation.mp4"] = reporter.progress(walk_frames(walk, config), total=total, what=f"{stage}: frames of the walk")
        counts = {
            name: write_video(output.file(name), shown, fps=config.fps, codec=config.codec, quality=config.quality) for name, shown in frames.items()
        }
        *_, last = snapshot_frames(model, config)
        save_picture(output.file("poster.png"), last)
    seconds = {name: round(count / config.fps, 2) for name, count in counts.items()}
    reporter.metadata(frames=counts, seconds=seconds)
    reporter.log(f"{stage}: " + ", ".join(f"{name} {count} frames, {seconds[name]:g} s" for name, count in counts.items()))


def snapshot_frames(model: Path, config: VideoConfig) -> Iterator[numpy.ndarray]:
    """uint8 [H, W, 3], each snapshot held for `snapshot_s`, the last one longer. Raises DrawingError without snapshots."""
    index = SnapshotIndex.read(model / "snapshots" / "index.json")
    if not index.snapshots:
        raise DrawingError(f"{model / 'snapshots'}: no snapshot; train with a smaller snap")
    held = max(1, round(config.snapshot_s * config.fps))
    for number, row in enumerate(index.snapshots):
        picture = fitted(load_picture(model / "snapshots" / row["file"]), config.most_width_px)
        frame = labelled(picture, f"{row['images'] / 1000:g} kimg") if config.label else picture
        is_last = number == len(index.snapshots) - 1
        for _ in range(held + (round(_END_HELD_S * config.fps) if is_last else 0)):
            yield frame


def walk_frames(walk: Walk, config: VideoConfig) -> Iterator[numpy.ndarray]:
    """uint8 [H, W, 3]: keyframes · w_frames pictures of a closed walk; the one after the last would be the first."""
    # Place p of the grid passes the keys p, p + places, … [keyframes, places, …]
    keys = walk.keys.unflatten(0, (config.keyframes, config.places))
    for moment in closed_walk(keys, config.w_frames):
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
