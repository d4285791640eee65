"""Averaged spectra: known signals have known spectra, the sum of power is that of the pixels, and the program draws them."""

import numpy
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: gan)")

from PIL import Image

from tests.training.gans.drawn_sets import discs, write_images
from training.metrics.images.sources import ArrayImages
from training.metrics.images.spectrum import average_spectra, average_spectrum, main, whitening

SIDE = 32


def wave(across: int, down: int, count: int = 3) -> ArrayImages:
    """Images of one wave with so many periods along each axis, moved at random."""
    random = numpy.random.default_rng(0)
    y, x = numpy.mgrid[:SIDE, :SIDE]
    moved = random.uniform(0, 1, (count, 1, 1, 1))
    pixels = 128 + 100 * numpy.sin(2 * numpy.pi * ((across * x + down * y) / SIDE + moved))
    return ArrayImages(numpy.rint(pixels.repeat(3, axis=1)).astype(numpy.uint8))


@pytest.mark.parametrize(("across", "down"), [(5, 0), (0, 9), (6, 6)])
def test_a_wave_is_a_pair_of_points_at_its_frequency(across, down):
    spectrum = average_spectrum(wave(across, down), 128.0, 70.0)
    strongest = sorted(divmod(int(place), SIDE) for place in numpy.argsort(spectrum.power.ravel())[-2:])
    assert strongest == sorted([(SIDE // 2 - down, SIDE // 2 - across), (SIDE // 2 + down, SIDE // 2 + across)])


def test_slices_run_along_the_axis_and_the_diagonal():
    axis, diagonal = (average_spectrum(wave(*periods), 128.0, 70.0) for periods in ((5, 0), (6, 6)))
    frequencies, decibels = axis.along(0)
    assert frequencies[decibels.argmax()] == pytest.approx(5 / SIDE) and axis.along(45)[1].max() < decibels.max() - 20
    frequencies, decibels = diagonal.along(45)
    assert frequencies[decibels.argmax()] == pytest.approx(6 * 2**0.5 / SIDE)
    assert axis.radial()[1].argmax() == 5 and diagonal.radial()[1].argmax() == round(6 * 2**0.5)


def test_power_adds_up_to_that_of_the_windowed_pixels():
    """Parseval's theorem, channel by channel."""
    images = numpy.random.default_rng(0).integers(0, 256, (4, 3, SIDE, SIDE), dtype=numpy.uint8)
    window = numpy.kaiser(SIDE, 8)
    white = (images.astype(float) - 100) / 50 * window[:, None] * window
    spectrum = average_spectrum(ArrayImages(images), 100.0, 50.0)
    assert spectrum.power.sum() / SIDE**2 == pytest.approx((white**2).sum((2, 3)).mean())
    assert spectrum.power == pytest.approx(numpy.roll(spectrum.power[::-1, ::-1], (1, 1), (0, 1)))


def test_all_sets_are_whitened_by_the_real_images():
    images = numpy.random.default_rng(0).integers(0, 256, (40, 3, SIDE, SIDE), dtype=numpy.uint8)
    mean, deviation = whitening(ArrayImages(images))
    assert (mean, deviation) == (pytest.approx(images.mean()), pytest.approx(images.std()))
    flat = (images // 2 + 64).astype(numpy.uint8)
    spectra = average_spectra(ArrayImages(images), {"half": ArrayImages(flat)})
    # Half the contrast is a quarter of the power: 6 dB.
    assert numpy.median(spectra["real"].decibels - spectra["half"].decibels) == pytest.approx(6.02, abs=0.1)


def test_white_noise_is_flat_and_a_grid_stands_out():
    random = numpy.random.default_rng(0)
    noise = random.integers(0, 256, (300, 1, SIDE, SIDE), dtype=numpy.uint8)
    gridded = noise.copy()
    gridded[:, :, ::4, ::4] = 255
    spectra = average_spectra(ArrayImages(noise), {"grid": ArrayImages(gridded)})
    assert spectra["real"].radial()[1][2:].std() < 0.5
    difference = spectra["grid"].decibels - spectra["real"].decibels
    assert difference[SIDE // 2, SIDE // 2 + SIDE // 4] > 5 > numpy.abs(numpy.median(difference))


@pytest.fixture
def sets(tmp_path):
    reals = write_images(tmp_path / "set@64", discs(6, side=64, seed=0))
    return reals, write_images(tmp_path / "psi0.8", discs(4, side=32, seed=1)), write_images(tmp_path / "psi1", discs(4, side=32, seed=2))


def test_the_program_draws_real_images_at_the_size_of_the_generated_ones(sets, tmp_path, capsys):
    assert main([*map(str, sets), "--out", str(tmp_path / "out"), "--images", "5"]) == 0
    assert "real 5 images, psi0.8 4 images, psi1 4 images" in capsys.readouterr().err
    with numpy.load(tmp_path / "out/spectra.npz") as spectra:
        assert {name: spectra[name].shape for name in spectra.files} == dict.fromkeys(["real", "psi0.8", "psi1"], (32, 32))
    for name in ("spectra.png", "slices.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.width > 700
    first = (tmp_path / "out/spectra.png").read_bytes()
    assert main([*map(str, sets), "--out", str(tmp_path / "out"), "--images", "5"]) == 0
    assert (tmp_path / "out/spectra.png").read_bytes() == first


def test_what_cannot_be_compared_is_said(sets, tmp_path, capsys):
    reals, first, _ = map(str, sets)
    assert main([reals, first, reals]) == 2 and "fakes of 32, 64 px cannot be compared" in capsys.readouterr().err
    assert main([reals, first, first]) == 2 and "different names" in capsys.readouterr().err
    assert main([reals, str(tmp_path / "none")]) == 1 and "no such file or folder" in capsys.readouterr().err
