"""Find the style vectors whose picture is most like a given one: projection into W or W+.

    python -m training.stylegan3.project picture.jpg --outdir out/projected
    python -m training.stylegan3.project picture.jpg --outdir out/projected --space w+ --distance lpips:weights/lpips --video

Writes projected_w.npz (`w` [1, num_ws, w_dim], which `sample --projected-w` draws), target.png, projection.png, projection.json and, if asked,
projection.mp4. Any picture will do: it is made square as in a dataset. Stopped, the same command continues where it was.
Source: Karras et al. 2020, arXiv:1912.04958 (StyleGAN2), appendix D. Abdal et al. 2019, arXiv:1904.03189, for W+.
"""

import hashlib
import json
import math
import sys
import zipfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from formats.pad_resize import Fit, fit_and_resize
from formats.pictures import DecodeLimits, Undecodable, decode
from formats.video import VideoError, write_video
from stages.artifact_id import content_id
from stages.files import replacing
from stages.params import ParamsError
from stages.program import program
from stages.reporting import Reporter
from training.gans.drawing import DrawingError, class_label
from training.gans.grids import save_picture, tile, to_uint8
from training.gans.video import fitted
from training.loop.bounds import above, at_least
from training.loop.devices import open_devices
from training.loop.seeding import generator as seeded
from training.metrics.images.perceptual import PerceptualDistance, PerceptualDistanceError, open_distance
from training.stylegan3.generator import Generator, StyleGAN3Error
from training.stylegan3.nvidia_snapshots import open_generator
from training.stylegan3.styles import write_styles

MODEL = "stylegan3_toc"
Space = Literal["w", "w+"]

_STATE = "projection_state.npz"
# Of the way, for the video and for nothing else.
_MOST_FRAMES, _FPS = 120, 30
_LOWEST_SIDE_PX = 8


class ProjectionError(Exception):
    """The picture cannot be projected."""


@dataclass(frozen=True)
class ProjectionOptions:
    """Defaults are those of appendix D: rate 0.1, up over the first twentieth and down over the last quarter; noise of 0.05 σ_w t², t from 1 to 0
    over the first three quarters.

    space: one style vector for all layers, or one for each. pixel_weight: of the squared difference of pixels beside the perceptual distance; ours.
    w_samples: latents that give the mean and the spread of W.
    """

    steps: int = 1000
    space: Space = "w"
    learning_rate: float = 0.1
    noise: float = 0.05
    pixel_weight: float = 1.0
    w_samples: int = 10_000
    class_index: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        at_least(self, 2, "w_samples")
        at_least(self, 0, "noise", "pixel_weight")
        above(self, 0, "learning_rate")

    def rate_at(self, step: int) -> float:
        """A cosine down to 0 over the last quarter, times a straight line up over the first twentieth."""
        t = step / self.steps
        down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / 0.25))
        return self.learning_rate * down * min(1.0, (step + 1) / self.steps / 0.05)

    def noise_at(self, step: int) -> float:
        """As a part of the spread of W."""
        return self.noise * max(0.0, 1 - step / self.steps / 0.75) ** 2


class Projection:
    """A search that can be stopped after any step. target: [1, C, R, R] in [-1, 1]."""

    def __init__(self, generator: Generator, target: Tensor, distance: PerceptualDistance, options: ProjectionOptions) -> None:
        self.generator, self.target, self.distance, self.options = generator, target, distance, options
        mean, self.spread = _mean_and_spread(generator, options)
        layers = generator.config.num_ws if options.space == "w+" else 1
        self.w = mean.expand(1, layers, -1).clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.w], lr=options.learning_rate)
        self.step_number, self.way = 0, [self.w.detach().cpu().numpy()[0]]

    @property
    def ws(self) -> Tensor:
        """[1, num_ws, w_dim]."""
        return self.w.detach().expand(1, self.generator.config.num_ws, -1)

    @property
    def is_done(self) -> bool:
        return self.step_number >= self.options.steps

    def step(self) -> float:
        """One step, and the distance before it."""
        options, number = self.options, self.step_number
        # Noise that follows from the place alone, so that a search goes on as if it had never stopped.
        noise = torch.randn(self.w.shape, generator=seeded(options.seed, "projection noise", number)).to(self.w)
        pictures = self.generator.synthesis((self.w + noise * self.spread * options.noise_at(number)).expand_as(self.ws))
        found = self.distance(pictures, self.target).sum() + options.pixel_weight * pixel_distance(pictures, self.target).sum()
        self.optimizer.param_groups[0]["lr"] = options.rate_at(number)
        self.optimizer.zero_grad()
        found.backward()
        self.optimizer.step()
        self.step_number += 1
        if self.step_number % max(1, options.steps // _MOST_FRAMES) == 0:
            self.way.append(self.w.detach().cpu().numpy()[0].copy())
        return found.item()

    def save(self, path: Path, key: str) -> None:
        """All of it as an npz. key: names what is searched for, with what."""
        moments = self.optimizer.state[self.w]
        parts = {"w": self.w.detach(), "mean": moments["exp_avg"], "square": moments["exp_avg_sq"]}
        with replacing(path) as temporary, temporary.open("wb") as stream:
            arrays = {name: value.cpu().numpy() for name, value in parts.items()}
            numpy.savez(stream, **arrays, way=numpy.stack(self.way), step=self.step_number, key=key)

    def resume(self, path: Path, key: str) -> bool:
        """Go on from `save`d state; False, and nothing changes, where there is none of this search."""
        try:
            with path.open("rb") as stream, numpy.load(stream, allow_pickle=False) as parts:
                found = {name: parts[name] for name in parts.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return False
        if str(found.get("key")) != key:
            return False
        w, mean, square = (torch.from_numpy(found[name]).to(self.w) for name in ("w", "mean", "square"))
        with torch.no_grad():
            self.w.copy_(w)
        self.step_number, self.way = int(found["step"]), list(found["way"])
        self.optimizer.state[self.w] = {"step": torch.tensor(float(self.step_number)), "exp_avg": mean, "exp_avg_sq": square}
        return True


def pixel_distance(one: Tensor, other: Tensor) -> Tensor:
    """[N]: mean squared difference of images [N, C, R, R], averaged over the image and its halves down to 8 px: coarse differences lead from afar."""
    levels = []
    while True:
        levels.append((one - other).square().mean(dim=(1, 2, 3)))
        if one.shape[-1] // 2 < _LOWEST_SIDE_PX:
            return torch.stack(levels).mean(dim=0)
        one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)


def read_target(path: Path, generator: Generator, fit: Fit) -> numpy.ndarray:
    """The picture as the generator would draw it: uint8 [C, R, R]. Raises ProjectionError."""
    side = generator.config.resolution
    try:
        picture = decode(path.read_bytes(), limits=DecodeLimits(min_side_px=1)).image
    except Undecodable as error:
        raise ProjectionError(f"{path}: {error}") from None
    square = fit_and_resize(picture, [side], fit=fit, canvas_px=side)[side]
    if generator.config.channels == 1:
        square = numpy.asarray(Image.fromarray(square).convert("L"))[:, :, None]
    return numpy.ascontiguousarray(square.transpose(2, 0, 1))


@torch.no_grad()
def _mean_and_spread(generator: Generator, options: ProjectionOptions) -> tuple[Tensor, float]:
    """μ_w [w_dim] and σ_w = √E‖f(z) - μ_w‖² over `w_samples` latents."""
    device = generator.mapping.w_avg.device
    label = class_label(generator.config.label_dim, options.class_index)
    z = torch.randn(options.w_samples, generator.config.z_dim, generator=seeded(options.seed, "projection latents"))
    c = None if label is None else label.to(device).expand(len(z), -1)
    w = torch.cat([generator.mapping(z[rows].to(device), None if c is None else c[rows])[:, 0] for rows in _thousands(len(z))])
    mean = w.mean(dim=0)
    return mean, (w - mean).square().sum(dim=1).mean().sqrt().item()


def _thousands(count: int) -> Iterator[slice]:
    return (slice(start, start + 1000) for start in range(0, count, 1000))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    options = _options(arguments)
    if not arguments.target.is_file():
        raise ProjectionError(f"{arguments.target}: no such file; expected a picture")
    network = arguments.network or arguments.data / MODEL
    with open_devices() as devices:
        generator = open_generator(network, device=devices.device)
        pixels = read_target(arguments.target, generator, arguments.fit)
        distance = open_distance(arguments.distance, seed=options.seed, device=devices.device)
        target = torch.from_numpy(pixels)[None].to(devices.device).float() / 127.5 - 1
        projection = Projection(generator, target, distance, options)
        facts = {"distance": distance.name, "network": content_id(network), "options": asdict(options)}
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode() + pixels.tobytes()).hexdigest()
        _search(projection, arguments, key, reporter)
        _write(projection, pixels, arguments, facts, reporter)


def _search(projection: Projection, arguments: Namespace, key: str, reporter: Reporter) -> None:
    state, outdir = arguments.outdir / _STATE, arguments.outdir
    outdir.mkdir(parents=True, exist_ok=True)
    if projection.resume(state, key):
        reporter.log(f"{outdir}: going on after step {projection.step_number:,}")
    left = range(projection.step_number, projection.options.steps)
    found = math.nan
    for number in reporter.progress(left, total=len(left), what="projection: steps"):
        found = projection.step()
        if (number + 1) % arguments.save_every == 0 and not projection.is_done:
            projection.save(state, key)
            reporter.log(f"step {number + 1:,}: distance {found:.4f}")


def _write(projection: Projection, pixels: numpy.ndarray, arguments: Namespace, facts: Mapping[str, object], reporter: Reporter) -> None:
    outdir, generator = arguments.outdir, projection.generator
    with torch.no_grad():
        drawn = generator.synthesis(projection.ws)
        found = {"perceptual": projection.distance(drawn, projection.target).item(), "pixels": pixel_distance(drawn, projection.target).item()}
    picture = to_uint8(drawn)[0].cpu().numpy()
    with replacing(outdir / "projected_w.npz") as path:
        write_styles(path, projection.ws)
    save_picture(outdir / "target.png", tile(pixels[None], 1))
    save_picture(outdir / "projection.png", tile(picture[None], 1))
    if arguments.video:
        with replacing(outdir / "projection.mp4") as path:
            write_video(path, _frames(projection, pixels), fps=_FPS)
    with replacing(outdir / "projection.json") as path:
        path.write_text(json.dumps({**facts, "found": found}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # Only now: what was searched for is there.
    (outdir / _STATE).unlink(missing_ok=True)
    reporter.log(
        f"{outdir}: {facts['distance']} distance {found['perceptual']:.4f}, pixels {found['pixels']:.4f} after {projection.step_number:,} steps"
    )


@torch.no_grad()
def _frames(projection: Projection, pixels: numpy.ndarray) -> Iterator[numpy.ndarray]:
    """The target on the left, what was found on the right, on the way there."""
    for w in projection.way:
        ws = torch.from_numpy(w)[None].to(projection.w).expand_as(projection.ws)
        picture = to_uint8(projection.generator.synthesis(ws))[0].cpu().numpy()
        yield fitted(tile(numpy.stack([pixels, picture]), 2), 1920)


def _options(arguments: Namespace) -> ProjectionOptions:
    if arguments.save_every < 1:
        raise ParamsError(f"--save-every must be at least 1, found {arguments.save_every}")
    names = ("steps", "space", "learning_rate", "pixel_weight", "w_samples", "class_index", "seed")
    try:
        return ProjectionOptions(**{name: getattr(arguments, name) for name in names})
    except ValueError as error:
        raise ParamsError(str(error)) from None


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("target", type=Path, metavar="PICTURE", help="any picture")
    parser.add_argument("--network", type=Path, metavar="DIR", help=f"a trained StyleGAN3 (default: {MODEL} below --data)")
    parser.add_argument("--outdir", type=Path, default=Path("out"), metavar="DIR", help="folder for the results (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="of the search (default: %(default)s)")
    parser.add_argument("--space", choices=get_args(Space), default="w", help="one style for all layers, or one for each (default: %(default)s)")
    parser.add_argument("--distance", default="random", metavar="NAME", help="random, or lpips:FOLDER with your weights (default: %(default)s)")
    parser.add_argument("--pixel-weight", type=float, default=1.0, metavar="X", help="of squared differences of pixels (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=0.1, metavar="X", help="at its highest (default: %(default)s)")
    parser.add_argument("--w-samples", type=int, default=10_000, metavar="N", help="latents for mean and spread of W (default: %(default)s)")
    parser.add_argument("--fit", choices=get_args(Fit), default="pad", help="a picture that is not square: on white, or its middle (default: pad)")
    parser.add_argument("--class", type=int, dest="class_index", metavar="N", help="class of a conditional model")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of latents and noise (default: %(default)s)")
    parser.add_argument("--save-every", type=int, default=100, metavar="N", help="steps between states to go on from (default: %(default)s)")
    parser.add_argument("--video", action="store_true", help="also the way there, as an MP4")


def main(argv: Sequence[str] | None = None) -> int:
    """See stages/program.py for exit codes."""
    expected = (StyleGAN3Error, DrawingError, ProjectionError, PerceptualDistanceError, VideoError)
    return program(__doc__, _run, argv, expected=expected, configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
