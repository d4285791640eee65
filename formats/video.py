"""Write pictures as an MP4 file through PyAV, which brings its own FFmpeg: no program has to be installed.

Equal pictures give equal bytes with the same version of PyAV: one thread, FFmpeg's bit-exact flags, no time of writing, and the encoder's own
description of itself is taken out. `vp9` (libvpx, BSD) plays in every browser; `h264` (libx264, GPL-2 or later) also in what is older. PyAV's wheels
carry both, and so lie behind the extra `video`; a PyAV built without libx264 does for `vp9`.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy

Codec = Literal["vp9", "h264"]

_ENCODERS: dict[Codec, tuple[str, dict[str, str]]] = {
    "vp9": ("libvpx-vp9", {"crf": "{quality}", "b": "0", "row-mt": "0", "deadline": "good", "cpu-used": "4"}),
    "h264": ("libx264", {"crf": "{quality}", "preset": "medium", "x264-params": "threads=1:sliced-threads=0"}),
}
# H.264 SEI messages of type user_data_unregistered hold x264's version and settings.
_STRIP = {"h264": "filter_units=remove_types=6"}


class VideoError(Exception):
    """A video cannot be written: no frame, frames of different sizes, or an encoder that this build of FFmpeg lacks."""


def write_video(path: Path, frames: Iterable[numpy.ndarray], *, fps: int, codec: Codec = "vp9", quality: int = 20) -> int:
    """Write uint8 RGB frames [H, W, 3] to the MP4 file `path` and return how many. Raises VideoError.

    quality: the encoder's constant rate factor, lower is better. A side of odd length is filled up by one pixel of white.
    """
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise VideoError(f"{path}: PyAV, which writes videos, is not installed: install the extra `video`") from None

    if codec not in _ENCODERS:
        raise VideoError(f"{path}: codec must be one of {', '.join(_ENCODERS)}, found {codec!r}")
    name, settings = _ENCODERS[codec]
    if name not in av.codecs_available:
        raise VideoError(f"{path}: this build of FFmpeg has no encoder {name}; choose another codec ({', '.join(_ENCODERS)})")
    options = {key: value.format(quality=quality) for key, value in settings.items()}
    count, shape = 0, None
    # movflags=faststart puts the index first, so that a browser can begin before it has the whole file.
    with av.open(str(path), "w", format="mp4", container_options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        stream: Any = None
        strip: Any = None
        try:
            for frame in frames:
                if frame.dtype != numpy.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
                    raise VideoError(f"{path}: frame {count} must be uint8 [H, W, 3], found {frame.dtype} {list(frame.shape)}")
                # The first frame decides the size of the video, so the stream is opened with it.
                if shape is None:
                    shape = frame.shape
                    stream, strip = _open_stream(container, codec, name, options, even(frame), fps)
                elif frame.shape != shape:
                    raise VideoError(f"{path}: frame {count} has shape {list(frame.shape)}, the first {list(shape)}; frames must be of one size")
                picture = av.VideoFrame.from_ndarray(even(frame), format="rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
                picture.pts, picture.time_base = count, Fraction(1, fps)
                _mux(container, stream, strip, stream.encode(picture))
                count += 1
            if stream is None:
                raise VideoError(f"{path}: no frame to write")
            # The encoder keeps frames back to look ahead; None asks for the rest, and so does the filter behind it.
            _mux(container, stream, strip, stream.encode(None))
            if strip is not None:
                _put(container, stream, strip.filter(None))
        except FFmpegError as error:
            raise VideoError(f"{path}: {name} failed: {error}") from None
    return count


def write_gif(path: Path, frames: Sequence[numpy.ndarray], *, fps: int) -> None:
    """Write uint8 RGB frames [H, W, 3] to a GIF that plays for ever. Grey frames keep every level; coloured ones get 256 colours each.

    A GIF counts in hundredths of a second, and players slow down what is shorter than two.
    """
    from PIL import Image

    # 256 colours of each frame's own: of greys there are no more, so they stay exact.
    first, *rest = (Image.fromarray(frame).quantize(256) for frame in frames)
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=max(20, 10 * round(100 / fps)), loop=0, optimize=False)


def read_video(path: Path) -> numpy.ndarray:
    """The frames of a video, uint8 RGB [T, H, W, 3]."""
    import av

    with av.open(str(path)) as container:
        return numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def even(frame: numpy.ndarray) -> numpy.ndarray:
    """`frame` with sides of even length, as halved colour planes need them: filled up with white below and at the right."""
    height, width = frame.shape[:2]
    return numpy.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)


def _open_stream(container: Any, codec: Codec, name: str, options: dict[str, str], frame: numpy.ndarray, fps: int) -> tuple[Any, Any]:
    from av.bitstream import BitStreamFilterContext
    from av.codec.context import Flags

    stream = container.add_stream(name, rate=fps, options=options)
    stream.height, stream.width = frame.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact
    stream.codec_context.color_primaries = stream.codec_context.color_trc = stream.codec_context.colorspace = 1  # BT.709
    strip = BitStreamFilterContext(_STRIP[codec], stream) if codec in _STRIP else None
    return stream, strip


def _mux(container: Any, stream: Any, strip: Any, packets: Iterable[Any]) -> None:
    for packet in packets:
        if strip is None:
            container.mux(packet)
        else:
            _put(container, stream, strip.filter(packet))


def _put(container: Any, stream: Any, packets: Iterable[Any]) -> None:
    for packet in packets:
        packet.stream = stream
        container.mux(packet)
