"""OpenCV, whichever package brings it, imported when it is first used.

`from edgevid._opencv import cv2` needs no OpenCV: only what draws, watches a camera's view or trains does.
Any of opencv-python, opencv-python-headless and opencv-contrib-python serves. They install the same folder,
so that edgevid depends on none of them, and its extras bring none but `opencv`.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgevid.errors import MissingExtraError, require


def require_opencv(purpose: str = "Drawing or processing images") -> ModuleType:
    """The imported cv2; MissingExtraError that names the pip command where there is none, or a broken one."""
    try:
        module = require("cv2", extra="opencv", purpose=purpose)
        broken = "" if hasattr(module, "imencode") else "files of it are missing"
    except MissingExtraError:
        raise
    except ImportError as error:  # such as libGL.so.1, which opencv-python needs and a server lacks
        broken = str(error)
    if not broken:
        return module
    raise MissingExtraError(
        "cv2", "opencv", purpose,
        problem=f"is installed but does not load ({broken}): where two OpenCV packages shared its folder, "
        "removing one breaks the other",
        remedy="pip install --force-reinstall --no-deps opencv-python-headless",
    )  # fmt: skip


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
