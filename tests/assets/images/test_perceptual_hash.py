"""Pictures that look the same are found whatever was done to their files; others are not."""

import io

import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
import numpy
from hypothesis import given, settings
from PIL import Image, ImageOps

from assets.images.perceptual_hash import Fingerprint, LookAlikes, fingerprint

LIMITS = {"max_bits": 10, "max_levels": 12.0}  # as in params.yaml


def blots(number: int, side: int = 64) -> Image.Image:
    levels = numpy.random.default_rng(number).integers(0, 256, (5, 5, 3), numpy.uint8)
    return Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC)


def again(image: Image.Image, kind: str, side: int, quality: int = 75) -> Image.Image:
    """The picture as somebody else would have saved it."""
    stream = io.BytesIO()
    other = image.resize((side, side * image.height // image.width), Image.Resampling.LANCZOS)
    (other.quantize(64) if kind == "GIF" else other).save(stream, kind, **({"quality": quality} if kind in ("JPEG", "WEBP") else {}))
    return Image.open(stream).convert("RGB")


def alike(one: Image.Image, other: Image.Image, **limits) -> bool:
    seen: LookAlikes[str] = LookAlikes(**(LIMITS | limits))
    seen.add("one", fingerprint(one))
    return bool(list(seen.like(fingerprint(other))))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["JPEG", "WEBP", "PNG", "BMP"]), st.integers(72, 200), st.integers(65, 95))
def test_a_picture_looks_the_same_in_any_format_size_and_quality(number, kind, side, quality):
    assert alike(blots(number, 96), again(blots(number, 96), kind, side, quality))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_other_pictures_do_not(number, other):
    assert alike(blots(number), blots(other)) == (number == other)


def test_cut_turned_mirrored_negative_and_grey_copies_are_other_pictures():
    one = blots(1, 96)
    for other in (one.crop((20, 20, 76, 76)), one.rotate(90), ImageOps.mirror(one), ImageOps.invert(one), one.convert("L").convert("RGB")):
        assert not alike(one, other)


def test_flat_pictures_are_told_apart_by_their_colour_and_found_again_after_compression():
    def flat(*colour: int) -> Image.Image:
        return Image.new("RGB", (50, 50), colour)

    assert fingerprint(flat(200, 10, 10)).hash == fingerprint(flat(10, 10, 200)).hash == 0
    assert not alike(flat(200, 10, 10), flat(10, 10, 200))
    assert alike(flat(200, 10, 10), again(flat(200, 10, 10), "JPEG", 70, 30))
    assert not alike(flat(255, 255, 255), flat(230, 230, 230))


def test_a_hash_is_the_signs_of_its_lowest_waves():
    # A picture that is one wave across has that wave's bit, the second of the first row, and no other above the middle by more than noise.
    wave = 128 + 100 * numpy.cos(numpy.pi * (2 * numpy.arange(32) + 1) / 64)
    picture = Image.fromarray(numpy.repeat(numpy.rint(wave).astype(numpy.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2))
    assert fingerprint(picture).hash == 1 << 62
    assert fingerprint(picture.transpose(Image.Transpose.TRANSPOSE)).hash == 1 << 55


def test_the_two_distances_are_those_that_are_told_and_their_bounds_are_kept():
    seen: LookAlikes[int] = LookAlikes(max_bits=3, max_levels=5.0)
    seen.add(7, Fingerprint(0b111, bytes(768)))
    assert list(seen.like(Fingerprint(0, bytes([5]) * 768))) == [(5.0, 3, 7)]
    assert list(seen.like(Fingerprint(0, bytes([6]) * 768))) == list(seen.like(Fingerprint(0b1000, bytes(768)))) == []


def test_more_pictures_than_were_thought_of_are_remembered_in_their_order():
    seen: LookAlikes[int] = LookAlikes(max_bits=0, max_levels=0.0)
    for number in range(2_500):
        seen.add(number, Fingerprint(number // 2, bytes(768)))
    assert [key for _, _, key in seen.like(Fingerprint(1_249, bytes(768)))] == [2_498, 2_499]


@pytest.mark.shared_data
def test_among_500_real_pictures_no_two_look_the_same_and_each_does_after_compression(shared_data):
    images = [Image.open(path).convert("RGB") for path in sorted((shared_data / "unpaired_images").glob("*/*.jpg"))]
    assert len(images) == 500
    # Of 124,750 pairs: 3 within the first bound alone, none within the second, nor within 20 levels.
    for limits, most in [(LIMITS, 0), ({**LIMITS, "max_levels": 255.0}, 3), ({"max_bits": 64, "max_levels": 20.0}, 0)]:
        seen: LookAlikes[int] = LookAlikes(**limits)
        found = 0
        for number, image in enumerate(images):
            found += len(list(seen.like(fingerprint(image))))
            seen.add(number, fingerprint(image))
        assert found <= most
    for image in images[::25]:
        assert all(alike(image, again(image, *how)) for how in [("JPEG", 64, 50), ("WEBP", 300, 40), ("GIF", image.width)])
