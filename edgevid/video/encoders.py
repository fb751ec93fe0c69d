"""The video encoders of this FFmpeg: hardware first, then BSD libraries, then x264, which is GPL."""

import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import av

from edgevid.errors import InputError, did_you_mean

TICKS = 60_000  # Time steps per second of a file; MPEG-4 Part 2 takes no more than 65,535


class Encoder(NamedTuple):
    """An encoder of FFmpeg and its settings."""

    codec: str
    """What it writes: "h264", "vp9", "av1", "mpeg4"."""
    kind: str
    """Where it runs, or its license, for messages."""
    options: Callable[[int], Mapping[str, str]] | None
    """FFmpeg's options for a quality of 0 (best) to 51; None for an encoder that takes a bit rate only."""
    automatic: bool = True
    """Whether "auto" takes it."""


def _amf(q: int) -> Mapping[str, str]:
    return {"rc": "cqp", "qp_i": str(q), "qp_p": str(q + 2), "qp_b": str(q + 4)}


def _openh264(q: int) -> Mapping[str, str]:
    return {"rc_mode": "quality", "qmin": str(q + 1), "qmax": str(q + 1)}


def _vp9(q: int) -> Mapping[str, str]:
    crf = str(min(63, round(1.5 * q)))
    return {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "row-mt": "1", "crf": crf}


def _av1(q: int) -> Mapping[str, str]:
    return {"preset": "11", "svtav1-params": "pred-struct=1", "crf": str(min(63, round(1.5 * q)))}


ENCODERS: Mapping[str, Encoder] = {
    "h264_nvenc": Encoder("h264", "NVIDIA", lambda q: {"preset": "p4", "rc": "vbr", "cq": str(q)}),
    "h264_qsv": Encoder("h264", "Intel", lambda q: {"global_quality": str(q)}),
    "h264_videotoolbox": Encoder("h264", "Apple", None),
    "h264_amf": Encoder("h264", "AMD", _amf),
    "h264_v4l2m2m": Encoder("h264", "V4L2", None),
    "libopenh264": Encoder("h264", "BSD", _openh264),
    "libvpx-vp9": Encoder("vp9", "BSD", _vp9),
    "libx264": Encoder("h264", "GPL", lambda q: {"preset": "veryfast", "crf": str(q)}),
    "libsvtav1": Encoder("av1", "BSD", _av1, automatic=False),
    "mpeg4": Encoder("mpeg4", "few browsers play it", None),
}
"""By FFmpeg's name, best first. VA-API is absent: PyAV cannot give an encoder the surfaces that it takes."""


def check_codec(codec: str) -> None:
    """InputError for a `codec` that `choose_encoder` does not know."""
    codecs = (encoder.codec for encoder in ENCODERS.values())
    known = list(dict.fromkeys(("auto", *codecs, *ENCODERS)))
    if codec not in known and f"lib{codec}" not in known:
        raise InputError(f"codec: expected one of {', '.join(known)}, got {codec!r}{did_you_mean(codec, known)}")


def choose_encoder(codec: str, width: int, height: int) -> str:
    """The name of the first encoder that works here for "auto", a codec, or an encoder's own name.

    InputError for an unknown word, and where this FFmpeg has none that works.
    """
    check_codec(codec)
    for name, encoder in ENCODERS.items():
        words = {name, name.removeprefix("lib"), encoder.codec, "auto" if encoder.automatic else ""}
        if codec in words and encodes(name, width, height):
            return name
    working = [name for name in ENCODERS if encodes(name, width, height)]
    raise InputError(
        f"codec {codec!r}: no such encoder works here for {width}x{height}; of this FFmpeg work "
        f"{', '.join(working) or 'none'}: take one of these, or codec='auto'"
    )


@lru_cache(maxsize=256)
def encodes(name: str, width: int, height: int) -> bool:
    """Whether an encoder makes a packet of one gray frame: hardware may be absent, busy or too small."""
    try:
        context: Any = av.CodecContext.create(name, "w")
        set_up(context, name, width, height, fps=25.0, quality=23)
        frame = av.VideoFrame(width, height, context.pix_fmt)
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = 0, Fraction(1, TICKS)
        return bool([*context.encode(frame), *context.encode(None)])
    except (av.FFmpegError, ValueError):
        return False


def ffmpeg_meta() -> tuple[str, str]:
    """The license and the configuration that this FFmpeg states; empty where PyAV does not pass them on."""
    meta = getattr(av._core, "library_meta", {}).get("libavcodec", {})
    return meta.get("license", ""), meta.get("configuration", "")


def set_up(context: Any, name: str, width: int, height: int, *, fps: float, quality: int) -> None:
    """Sets size, rate, format and quality of an encoder's context that is not open yet."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 reports its settings otherwise
    encoder, codec = ENCODERS[name], context.codec
    formats = [known.name for known in codec.video_formats or ()]
    context.width, context.height = width, height
    context.pix_fmt = "nv12" if formats and "yuv420p" not in formats else "yuv420p"
    context.framerate = Fraction(fps).limit_denominator(1001)
    context.time_base = Fraction(1, TICKS)
    context.gop_size = max(1, round(2 * fps))
    if encoder.options is None:
        context.bit_rate = int(width * height * fps * 0.12)
    else:
        context.bit_rate = 0  # constant quality
        context.options = dict(encoder.options(quality))
