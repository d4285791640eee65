"""MP4 files: as many frames as were given, the right pictures, equal bytes for equal pictures, and plain words for what cannot be written."""

import numpy
import pytest

pytest.importorskip("av", reason="PyAV is not installed (the `video` extra)")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from formats.video import VideoError, read_video, write_gif, write_video


def frames(number: int, height: int = 48, width: int = 64) -> list[numpy.ndarray]:
    """A smooth picture that becomes lighter."""
    slope = numpy.indices((height, width)).sum(axis=0)
    return [numpy.repeat((slope + 8 * index)[..., None] % 256, 3, axis=2).astype(numpy.uint8) for index in range(number)]


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_frames_come_back_and_equal_pictures_are_equal_bytes(tmp_path, codec):
    given = frames(12)
    paths = [tmp_path / f"{name}.mp4" for name in "ab"]
    assert [write_video(path, iter(given), fps=10, codec=codec) for path in paths] == [12, 12]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    back = read_video(paths[0])
    assert back.shape == (12, 48, 64, 3)
    assert numpy.abs(back.astype(int) - numpy.stack(given)).mean() < 6


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_the_file_names_no_encoder_and_no_time(tmp_path, codec):
    path = tmp_path / "a.mp4"
    write_video(path, frames(3), fps=10, codec=codec)
    content = path.read_bytes()
    assert b"x264" not in content and b"Lavf" not in content and b"Lavc" not in content
    # mvhd: version and flags, then creation and modification time.
    start = content.index(b"mvhd") + 4
    assert content[start + 4 : start + 12] == bytes(8)


def test_the_index_comes_first_so_that_a_browser_can_begin(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, frames(3), fps=10)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_an_odd_side_is_filled_up(tmp_path):
    write_video(tmp_path / "a.mp4", frames(2, 33, 47), fps=5)
    assert read_video(tmp_path / "a.mp4").shape == (2, 34, 48, 3)


@pytest.mark.parametrize(
    ("given", "codec", "message"),
    [
        ([], "vp9", "no frame to write"),
        ([*frames(1), *frames(1, 50)], "h264", "frame 1 has shape"),
        ([frames(1)[0].astype(float)], "h264", r"must be uint8 \[H, W, 3\]"),
        (frames(1), "divx", "codec must be one of vp9, h264"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, given, codec, message):
    with pytest.raises(VideoError, match=message):
        write_video(tmp_path / "a.mp4", given, fps=10, codec=codec)


def test_a_gif_has_every_frame_keeps_greys_and_comes_near_to_colours(tmp_path):
    ramp = numpy.arange(256, dtype=numpy.uint8).reshape(16, 16)
    grey = [numpy.repeat((255 - ramp if number else ramp)[..., None], 3, axis=2) for number in range(2)]
    colour = numpy.stack([ramp, ramp.T, numpy.full_like(ramp, 90)], axis=2)
    write_gif(tmp_path / "a.gif", [*grey, colour], fps=25)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.info["loop"], gif.info["duration"]) == (3, 0, 40)
        found = []
        for number in range(3):
            gif.seek(number)
            found.append(numpy.asarray(gif.convert("RGB")).astype(int))
    assert (found[0] == grey[0]).all() and (found[1] == grey[1]).all() and numpy.abs(found[2] - colour).mean() < 12
    write_gif(tmp_path / "b.gif", [*grey, colour], fps=25)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
