"""OpenCV, whichever package brings it, imported when it is first used.

`from edgevid._opencv import cv2` needs no OpenCV: only what draws, watches a camera's view or trains does.
Any of opencv-python, opencv-python-headless and opencv-contrib-python serves. They install the same folder,
so that edgevid depends on none of them, and its extras bring none but `opencv`."""

import importlib
import importlib.metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgevid.errors import MissingExtraError

PACKAGES = tuple(f"opencv-{kind}python{end}" for kind in ("", "contrib-") for end in ("", "-headless"))
ADD = 'pip install "edgevid[opencv]"'


def require_opencv(purpose: str = "Drawing or processing images") -> ModuleType:
    """The imported cv2; MissingExtraError with the pip command where there is none, or one that fails."""
    try:
        module = importlib.import_module("cv2")
        if hasattr(module, "imencode"):  # else a folder that another OpenCV left
            return module
        problem = "is not installed"
    except ModuleNotFoundError as error:
        problem = "is not installed" if error.name == "cv2" else f"fails to load ({error})"
    except ImportError as error:  # such as libGL.so.1, which opencv-python needs and a server lacks
        problem = f"fails to load ({error})"
    listed, remedy = [name for name in PACKAGES if _is_listed(name)], ADD
    if listed and problem == "is not installed":
        again = f"pip install --force-reinstall --no-deps {listed[0]}"
        remedy = f"{ADD}, or, as {listed[0]} is listed but another OpenCV took its files along: {again}"
    elif listed:
        remedy = f"pip uninstall -y {' '.join(listed)} && {ADD}"
    raise MissingExtraError("cv2", "opencv", purpose, problem=problem, remedy=remedy)


def _is_listed(package: str) -> bool:
    """Whether pip lists `package` as installed."""
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


class _OpenCV:
    """Stands for the module cv2; each name is looked up there once."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(require_opencv(), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import cv2 as cv2
else:
    cv2 = _OpenCV()
