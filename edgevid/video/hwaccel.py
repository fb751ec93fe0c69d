"""Decoding on a GPU, by PyAV's hwaccel; the CPU where that cannot be."""

import logging
from typing import Any, Literal, get_args

from edgevid.errors import InputError

log = logging.getLogger("edgevid")

Decode = Literal["auto", "cpu", "cuda", "vaapi", "videotoolbox", "qsv", "d3d11va"]
"""Where videos are decoded; auto: on the first device that is there."""
TRIED = ("cuda", "videotoolbox", "vaapi", "d3d11va", "qsv")  # What auto tries, in this order


def hardware(decode: str) -> Any:
    """What `av.open` takes as hwaccel, None for the CPU; a note on the log says why it is the CPU."""
    if decode not in get_args(Decode):
        raise InputError(f"decode: expected one of {', '.join(get_args(Decode))}, got {decode!r}")
    if decode == "cpu":
        return None
    from av.codec.hwaccel import HWAccel, hwdevices_available

    known = [name for name in hwdevices_available() if name in TRIED]
    for name in TRIED if decode == "auto" else (decode,):
        if name in known and (found := _device(HWAccel, name)) is not None:
            log.info("decoding on %s", name)
            return found
    log.warning(
        "decoding on the CPU: no device for --decode %s (this FFmpeg knows %s)",
        decode, ", ".join(known) or "none",
    )  # fmt: skip
    return None


def _device(make: Any, name: str) -> Any:
    """The device, None where this machine has none: it is opened once, for H.264, to find out."""
    import av

    try:
        made = make(name, allow_software_fallback=True)
        made.create(av.Codec("h264", "r"))
    except (av.FFmpegError, NotImplementedError):
        return None
    return made
