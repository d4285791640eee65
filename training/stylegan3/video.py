"""Videos of a StyleGAN3: how it came to draw what it draws, and a walk through what it can draw.

    python -m training.stylegan3.video                                          # the stage: data/toc_training_video
    python -m training.stylegan3.video --set keyframes=3 --set w_frames=10      # seconds on a CPU

training.mp4 shows the snapshots of the training one after the other: the same latent vectors, more and more kimg. interpolation.mp4 goes smoothly
through keyframes in W and ends where it began, so it can be played for ever. poster.png is the last picture of the training.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from formats.video import Codec, VideoError, write_video
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.gans.grids import load_picture, save_picture, tile, to_uint8
from training.gans.seed_ranges import latents, parse_seeds
from training.loop.devices import open_devices
from training.stylegan3.generator import Generator, StyleGAN3Error, load_generator
from training.stylegan3.sample import class_label
from training.stylegan3.snapshots import SnapshotIndex

STAGE = "toc_training_video"
MODEL = "stylegan3_toc"

# Small pictures are shown larger, so that a player's smoothing does not wash them out.
_LEAST_WIDTH_PX, _LEAST_HEIGHT_PX = 640, 360
_LABEL_HEIGHT_PX = 24
_END_HELD_S = 1.5


@dataclass(frozen=True)
class ToCTrainingVideoConfig:
    """The section `toc_training_video`.

    fps: of both videos. snapshot_s: how long each snapshot stays; label: write its kimg above it.
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
        for name in ("fps", "keyframes", "w_frames", "batch_size", "most_width_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.snapshot_s <= 0:
            raise ValueError(f"snapshot_s must be above 0, found {self.snapshot_s}")
        if len(self.grid) != 2 or min(self.grid) < 1:
            raise ValueError(f"grid must be [columns, rows], found {list(self.grid)}")
        needed = self.grid[0] * self.grid[1] * self.keyframes
        if len(parse_seeds(self.seeds)) < needed:
            raise ValueError(f"seeds {self.seeds!r} are fewer than the {needed} that grid and keyframes take; name more")


def training_frames(model: Path, config: ToCTrainingVideoConfig) -> Iterator[numpy.ndarray]:
    """uint8 [H, W, 3], each snapshot held for `snapshot_s`, the last one longer. Raises StyleGAN3Error without snapshots."""
    index = SnapshotIndex.read(model / "snapshots" / "index.json")
    if not index.snapshots:
        raise StyleGAN3Error(f"{model / 'snapshots'}: no snapshot; train with a smaller snap")
    held = max(1, round(config.snapshot_s * config.fps))
    for number, row in enumerate(index.snapshots):
        picture = fitted(load_picture(model / "snapshots" / row["file"]), config.most_width_px)
        frame = labelled(picture, f"{row['images'] / 1000:g} kimg") if config.label else picture
        is_last = number == len(index.snapshots) - 1
        for _ in range(held + (round(_END_HELD_S * config.fps) if is_last else 0)):
            yield frame


def interpolation_frames(generator: Generator, config: ToCTrainingVideoConfig) -> Iterator[numpy.ndarray]:
    """uint8 [H, W, 3]: keyframes · w_frames pictures of a closed walk; the one after the last would be the first."""
    columns, rows = config.grid
    places = columns * rows
    seeds = parse_seeds(config.seeds)[: places * config.keyframes]
    device = generator.mapping.w_avg.device
    label = class_label(generator, config.class_index)
    z = latents(seeds, generator.config.z_dim).to(device)
    c = None if label is None else label.to(device).expand(len(z), -1)
    # Place p of the grid passes the keyframes p, p + places, … [keyframes, places, num_ws, w_dim]
    keys = generator.mapping(z, c, truncation_psi=config.psi).cpu().unflatten(0, (config.keyframes, places))
    for moment in closed_walk(keys, config.w_frames):
        yield fitted(tile(_pictures(generator, moment.to(device), config.batch_size), columns), config.most_width_px)


@torch.inference_mode()
def _pictures(generator: Generator, ws: Tensor, batch: int) -> numpy.ndarray:
    return numpy.concatenate([to_uint8(generator.synthesis(part)).cpu().numpy() for part in ws.split(batch)])


def closed_walk(keys: Tensor, frames_between: int) -> Iterator[Tensor]:
    """Points of a cubic spline through keys [K, …], `frames_between` from each key to the next and from the last back to the first.

    Its first and second derivatives are continuous everywhere, the seam included. One key alone stands still.
    """
    from scipy.interpolate import CubicSpline

    K = len(keys)
    if K == 1:
        yield from (keys[0] for _ in range(frames_between))
        return
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


def make_videos(data: Path, config: ToCTrainingVideoConfig, reporter: Reporter) -> dict[str, int]:
    """Write data/toc_training_video and return the number of frames by file."""
    model = data / MODEL
    with open_devices() as devices, OutputFolder(data / STAGE) as output:
        generator = load_generator(model, device=devices.device)
        frames = {}
        video = {"fps": config.fps, "codec": config.codec, "quality": config.quality}
        frames["training.mp4"] = write_video(output.file("training.mp4"), training_frames(model, config), **video)  # type: ignore[arg-type]
        total = config.keyframes * config.w_frames
        walk = reporter.progress(interpolation_frames(generator, config), total=total, what=f"{STAGE}: frames of the walk")
        frames["interpolation.mp4"] = write_video(output.file("interpolation.mp4"), walk, **video)  # type: ignore[arg-type]
        *_, last = training_frames(model, config)
        save_picture(output.file("poster.png"), last)
    return frames


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, ToCTrainingVideoConfig, overrides=arguments.overrides)
    frames = make_videos(arguments.data, config, reporter)
    seconds = {name: round(count / config.fps, 2) for name, count in frames.items()}
    reporter.metadata(frames=frames, seconds=seconds)
    reporter.log(f"{STAGE}: " + ", ".join(f"{name} {count} frames, {seconds[name]:g} s" for name, count in frames.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_training_video`; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(StyleGAN3Error, VideoError))


if __name__ == "__main__":
    sys.exit(main())
