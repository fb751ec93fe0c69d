"""What stands in for a detector or goes into one: a function; sources of images, settings of other names."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError, did_you_mean, masked
from edgevid.runtime.engine import InputSpec
from edgevid.types import Detections, Frame, as_detections, as_frame
from edgevid.types.peers import habits
from edgevid.video.open import is_live, open_video

SETTINGS = ("score_threshold", "nms_iou", "classes", "max_detections")  # Those that may change from call to call
PEERS = {**dict.fromkeys(("conf", "confidence"), SETTINGS[0]), "iou": "nms_iou", "max_det": "max_detections"}
"""Names of the same settings in Ultralytics and in supervision's examples."""
GIVE_UP_S = 10.0  # How long an address may take for its first frame, where there is no `stream`


def frames_of(source: Any, *, stream: bool = True) -> Iterator[Frame]:
    """The frames of an image, a path, a folder, a video, an address, or an iterable of these. Without `stream` they
    must end: the address of an image gives one, a camera is an InputError."""
    if isinstance(source, (str, Path, int)):
        ends = not stream and is_live(str(source))
        with open_video(source, **({"give_up_s": GIVE_UP_S} if ends else {})) as video:
            for frame in video:
                if ends and video.live and getattr(video, "codec", "") != "images":
                    raise InputError(f"{masked(str(source))}: a camera has no end; pass stream=True")
                yield frame
                if ends and video.live:
                    return
    elif isinstance(source, Iterable) and not isinstance(source, np.ndarray) and not hasattr(source, "numpy"):
        for one in source:  # a number is no camera here
            yield from [as_frame(one)] if isinstance(one, int) else frames_of(one, stream=stream)
    else:
        yield as_frame(source)


def settings_of(given: Mapping[str, Any], spec: InputSpec) -> dict[str, Any]:
    """The settings under our names; InputError for one that is not known or cannot change in a call."""
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if name == "imgsz":  # a side, or height and width: those of the model's input
            if (sides := np.ravel(value).tolist()) not in ([max(spec.width, spec.height)], [spec.height, spec.width]):
                size, text = f"{spec.height}x{spec.width}", "x".join(map(str, sides))
                what = f"imgsz: an exported model has one size, here {size} (height x width), got {text}; leave it out"
                raise InputError(f"{what}, or export another size: `edgevid export model.pt --size {text}`")
        elif hint := habits()["predict"].get(name):
            raise InputError(f"{name}: not a setting of one call; {hint}")
        elif name != "verbose":  # nothing is printed either way
            if (ours := PEERS.get(name, name)) not in SETTINGS:
                got = f"{name!r}{did_you_mean(name, [*SETTINGS, *PEERS])}"
                raise InputError(f"detector setting: expected one of {', '.join(SETTINGS)}, got {got}")
            settings[ours] = value
    return settings


class FunctionDetector:
    """A function of one image as a detector: what another library's model or your own code finds. The function gets the
    image as OpenCV's (H, W, 3) uint8 BGR array, or the Frame where its parameter is annotated so, and returns
    Detections, supervision.Detections, an (N, 6) array of x1, y1, x2, y2, score and label, or Ultralytics' results."""

    def __init__(self, function: Callable[[Any], Any], names: Sequence[str] = ()) -> None:
        """`names` of the labels; those of the function's own `names`, where it has any (YOLO's), if empty."""
        self.function = function
        found = names or getattr(function, "names", ())
        self.names = tuple(found.values() if isinstance(found, Mapping) else found)
        self._takes_frame = _takes_frame(function)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One table per frame; InputError names the function where it returns something else."""
        name = f"detector {getattr(self.function, '__name__', type(self.function).__name__)}"
        return [as_detections(self.function(one if self._takes_frame else one.bgr), name) for one in frames]


def _takes_frame(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin
        return False
    return bool(parameters) and parameters[0].annotation in (Frame, "Frame", "edgevid.Frame")
