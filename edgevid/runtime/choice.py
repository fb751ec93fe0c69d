"""Which runtime `device="auto"` takes for a model on this CPU, as `edgevid bench MODEL --choose` measured it.

One entry for each model file, processor and pair of versions; any other is measured again, so that the choice
is the same at every start.
"""

import dataclasses
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgevid.files.atomic import make_folder, write_atomic
from edgevid.files.folders import cache_folder
from edgevid.runtime.onnxruntime.weight_inputs import model_digest
from edgevid.runtime.openvino.engine import installed_version
from edgevid.runtime.processor import processor_name

Runtime = Literal["onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The faster of two runtimes for one model, whose boxes agree."""

    runtime: Runtime
    onnxruntime_ms: float
    """Median of a run in ONNX Runtime."""
    openvino_ms: float
    agreement: float
    """Of OpenVINO with ONNX Runtime on the frames of the measurement, 0 to 1."""

    @property
    def reason(self) -> str:
        """Both figures, as a clause."""
        times = f"{self.openvino_ms:.1f} ms by OpenVINO, {self.onnxruntime_ms:.1f} ms by ONNX Runtime"
        return f"measured here: {times}, {self.agreement:.1%} agreement"


def choices_file() -> Path:
    """Where this machine's choices are kept."""
    return cache_folder() / "runtimes.json"


def read_choice(model: Path) -> Choice | None:
    """The choice for a model file; None where it was not measured with this processor and these versions."""
    found = _all()
    try:
        return Choice(**found[_key(model)]) if found else None
    except (KeyError, TypeError, OSError):
        return None


def remember_choice(model: Path, choice: Choice) -> Path:
    """Keeps a choice; the file that holds it."""
    path = choices_file()
    make_folder(path.parent)
    kept = {**_all(), _key(model): dataclasses.asdict(choice)}
    write_atomic(path, json.dumps(kept, indent=1))
    return path


def count_choices() -> tuple[int, int]:
    """How many models were measured on this machine, and for how many of them OpenVINO is taken."""
    found = [one for key, one in _all().items() if key.endswith(_conditions())]
    return len(found), sum(one.get("runtime") == "openvino" for one in found)


def _all() -> dict[str, dict[str, Any]]:
    found = {}
    with suppress(OSError, ValueError):
        found = json.loads(choices_file().read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def _key(model: Path) -> str:
    return f"{model_digest(model)}, {_conditions()}"


def _conditions() -> str:
    from edgevid.runtime.onnxruntime.session import version  # takes 0.1 s to import

    return f"{processor_name()}, onnxruntime {version()}, openvino {installed_version()}"
