"""Averaged power spectra: which frequencies real and generated images hold, as a picture and along two directions.

    python -m training.metrics.images.spectrum data/toc_dataset@128 data/toc_fakes/psi0.8 --out out/spectra

Regular patterns of a generator stand out as points and crosses, too soft or too sharp pictures as a lower or higher rim. Writes spectra.png (one
picture for each set), slices.png (at 0 and 45 degrees, and the mean over rings) and spectra.npz.
Source: Karras et al. 2021, arXiv:2106.12423, figure 13 of the appendices.
"""

import functools
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from formats.image_shards import DamagedImageError, ImageSetError, ImageShards
from stages.files import replacing
from stages.params import ParamsError
from stages.program import program
from stages.reporting import Reporter
from training.metrics.images.sources import ImageSource, batches, choose
from training.reports.pictures import draw_panels

KAISER_BETA = 8.0
REALS = "real"
_BATCH_NUMBERS = 4_000_000  # complex ones; an image of 1024 px has three million

Panels = dict[str, Callable[[Any], None]]


@dataclass(frozen=True)
class Spectrum:
    """power: float64 [S, S], frequency 0 in the middle (at S // 2). images: it is the average of."""

    power: numpy.ndarray
    images: int

    @property
    def decibels(self) -> numpy.ndarray:
        """[S, S]."""
        return _decibels(self.power)

    def along(self, degrees: int) -> tuple[numpy.ndarray, numpy.ndarray]:
        """(cycles per pixel, dB) from frequency 0 outwards along the axis (0), or the diagonal (45)."""
        side = len(self.power)
        steps = numpy.arange((side + 1) // 2)
        down = steps if degrees == 45 else 0 * steps
        return steps / side * (2**0.5 if degrees == 45 else 1), _decibels(self.power[side // 2 + down, side // 2 + steps])

    def radial(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """(cycles per pixel, dB): the mean power over rings one step of frequency wide, up to the Nyquist frequency of the axes."""
        side = len(self.power)
        steps = numpy.arange(side) - side // 2
        ring = numpy.rint(numpy.hypot(steps[:, None], steps[None, :])).astype(int).ravel()
        mean = numpy.bincount(ring, self.power.ravel()) / numpy.bincount(ring)
        rings = numpy.arange((side + 1) // 2)
        return rings / side, _decibels(mean[rings])


def whitening(source: ImageSource) -> tuple[float, float]:
    """Mean and standard deviation of all pixels of all images, whatever their channel and place: two numbers for a dataset."""
    total = squares = count = 0.0
    for _, images in _batches(source):
        values = images.astype(numpy.float64)
        total, squares, count = total + values.sum(), squares + (values**2).sum(), count + values.size
    mean = total / count
    return mean, max((squares / count - mean**2), 0) ** 0.5


def average_spectrum(source: ImageSource, mean: float, deviation: float) -> Spectrum:
    """The average over images and channels of |FFT|² of whitened images under a separable Kaiser window.

    source: square images. mean, deviation: of the real ones, for all sets alike, so that their spectra stand on one scale.
    """
    total: Any = 0.0
    for _, images in _batches(source):
        window = numpy.kaiser(images.shape[-1], KAISER_BETA)
        white = (images - mean) / (deviation or 1.0) * numpy.outer(window, window)
        total = total + (numpy.abs(numpy.fft.fft2(white)) ** 2).mean(axis=1).sum(axis=0)
    return Spectrum(numpy.fft.fftshift(total / len(source)), len(source))


def average_spectra(reals: ImageSource, sets: Mapping[str, ImageSource]) -> dict[str, Spectrum]:
    """The spectrum of the real images, then of each set, all whitened by the real ones."""
    mean, deviation = whitening(reals)
    return {name: average_spectrum(source, mean, deviation) for name, source in {REALS: reals, **sets}.items()}


def picture_panels(spectra: Mapping[str, Spectrum]) -> Panels:
    """A panel for each spectrum, all on one scale of colours."""
    decibels = [spectrum.decibels for spectrum in spectra.values()]
    low, high = min(values.min() for values in decibels), max(values.max() for values in decibels)

    def draw(axes: Any, *, spectrum: Spectrum) -> None:
        # From the lowest frequency of either sign to the highest, in cycles per pixel.
        shown = axes.imshow(spectrum.decibels, cmap="viridis", vmin=low, vmax=high, extent=(-0.5, 0.5, 0.5, -0.5), interpolation="nearest")
        axes.figure.colorbar(shown, ax=axes, shrink=0.7).ax.tick_params(labelsize=5)

    return {f"{name}, dB": functools.partial(draw, spectrum=spectrum) for name, spectrum in spectra.items()}


def slice_panels(spectra: Mapping[str, Spectrum]) -> Panels:
    """Lines of all spectra along the axis, along the diagonal, and over rings."""
    ways: dict[str, Callable[[Spectrum], tuple[numpy.ndarray, numpy.ndarray]]] = {
        "0°": lambda spectrum: spectrum.along(0),
        "45°": lambda spectrum: spectrum.along(45),
        "all directions": Spectrum.radial,
    }

    def draw(axes: Any, *, way: Callable[[Spectrum], tuple[numpy.ndarray, numpy.ndarray]]) -> None:
        for index, (name, spectrum) in enumerate(spectra.items()):
            axes.plot(*way(spectrum), linewidth=1, linestyle="--" if name == REALS else "-", color=f"C{index}", label=name)
        axes.set_xlabel("cycles per pixel", fontsize=7)
        axes.set_ylabel("dB", fontsize=7)
        axes.legend(fontsize=5)

    return {title: functools.partial(draw, way=way) for title, way in ways.items()}


def _batches(source: ImageSource) -> Iterator[tuple[int, numpy.ndarray]]:
    return batches(source, max(1, _BATCH_NUMBERS // source.images([0]).size))


def _decibels(power: numpy.ndarray) -> numpy.ndarray:
    # Flat images have no power at all at some frequencies: far below what any image can be judged by.
    return 10 * numpy.log10(numpy.maximum(power, 1e-12))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    if arguments.images is not None and arguments.images < 1:
        raise ParamsError(f"--images must be at least 1, found {arguments.images}")
    opened = {_name(path): ImageShards(path, resolution=arguments.resolution) for path in arguments.fakes}
    if len(opened) < len(arguments.fakes) or REALS in opened:
        raise ParamsError(f"the folders of fakes must have different names, and none may be called {REALS}")
    # Real images are shown at the size of the generated ones, as in reports.
    sizes = {shards.resolution for shards in opened.values()}
    if len(sizes) > 1:
        raise ParamsError(f"fakes of {', '.join(map(str, sorted(sizes)))} px cannot be compared; set --resolution to the smallest")
    reals: ImageSource = ImageShards(arguments.reals, resolution=arguments.resolution or sizes.pop())
    most = arguments.images or len(reals)
    spectra = average_spectra(choose(reals, most, "spectra"), {name: choose(shards, most, "spectra") for name, shards in opened.items()})
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, panels in (("spectra.png", picture_panels(spectra)), ("slices.png", slice_panels(spectra))):
        with replacing(arguments.out / name) as path:
            draw_panels(panels, path, nothing="no image")
    with replacing(arguments.out / "spectra.npz") as path, path.open("wb") as stream:
        numpy.savez(stream, **{name: spectrum.power for name, spectrum in spectra.items()})  # type: ignore[arg-type]
    counts = ", ".join(f"{name} {spectrum.images:,} images" for name, spectrum in spectra.items())
    reporter.log(f"{counts}; spectra.png, slices.png and spectra.npz in {arguments.out}")


def _name(path: Path) -> str:
    return path.stem if path.suffix == ".zip" else path.name


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("reals", type=Path, metavar="REALS", help="real images: a folder of shards or pictures, or a zip; square, of one size")
    parser.add_argument("fakes", type=Path, nargs="+", metavar="FAKES", help="generated ones, one place for each set")
    parser.add_argument("--resolution", type=int, metavar="PX", help="compare at this side (default: that of the fakes)")
    parser.add_argument("--images", type=int, metavar="N", help="at most so many of each (default: as many as there are real ones)")
    parser.add_argument("--out", type=Path, default=Path("spectra"), metavar="DIR", help="folder for the pictures (default: %(default)s)")


def main(argv: Sequence[str] | None = None) -> int:
    """See stages/program.py for exit codes."""
    return program(__doc__, _run, argv, expected=(ImageSetError, DamagedImageError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
