"""What the cameras of a fleet share: engines, where a model is loaded once and requests of one moment are one batch,
and the turns in which they work."""

import threading
import time as clock
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from edgevid.runtime.engine import AcceptsFrames, LoadedEngine, check_inputs
from edgevid.runtime.load import load_engine
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.variants import model_file
from edgevid.types import Array

MOST = 16  # Images of one run of a model that takes any number
WAIT_S = 0.004  # How long a request waits for others to join its batch
HUNG_S = 5.0  # A turn that takes longer no longer keeps others from theirs


class SharedEngines:
    """Loads each model once for all cameras; it is freed when the last of them lets go of it."""

    def __init__(self, in_work: Callable[[], int]) -> None:
        """`in_work` is the number of frames in work: a batch waits for no more requests than these."""
        self._in_work, self._lock = in_work, threading.Lock()
        self._known: WeakValueDictionary[Any, LoadedEngine] = WeakValueDictionary()

    def load(self, model: Any, **options: Any) -> LoadedEngine:
        """As `load_engine`; the engine that is there already for the same file and options."""
        file = model_file(model)
        key = (file, file.stat().st_mtime_ns if file.is_file() else 0, *sorted(options.items()))
        with self._lock:
            engine = self._known.get(key)
            if engine is None:
                engine = self._known[key] = self._shared(model, options)
            return engine

    def batch(self) -> int:
        """The largest batch of these engines."""
        return max((getattr(engine, "batch", 1) for engine in list(self._known.values())), default=1)

    def _shared(self, model: Any, options: dict[str, Any]) -> LoadedEngine:
        engine = load_engine(model, **options)
        if isinstance(engine, OrtEngine) and engine.device == "cpu":
            return engine  # threads run it at the same time, where a batch costs as much as its images one by one
        if getattr(engine, "device", "") == "openvino":  # its CPU, where one request at a time takes all cores
            return load_engine(model, **options | {"threads": None})
        built = getattr(getattr(engine, "manifest", None), "options", {}).get("batch", [MOST])
        by_image = getattr(getattr(model, "decode", None), "kind", "") != "batch-rows"
        return BatchedEngine(engine, self._in_work, most=min(MOST, max(built)) if by_image else 1)


@dataclass(eq=False)
class _Request:
    """What one thread wants to be run, and what came of it."""

    rows: int
    inputs: Mapping[str, Array]
    frames: tuple[Any, ...] = ((), ())  # Of `run_frames`: frames, rectangles, spec and name of the input
    outputs: dict[str, Array] | None = None
    error: Exception | None = None


class BatchedEngine(LoadedEngine):
    """An engine for many threads: what they request at one moment runs as one batch. Outputs are each thread's own."""

    def __init__(self, engine: Any, in_work: Callable[[], int], *, most: int = MOST, wait_s: float = WAIT_S) -> None:
        """Up to `most` images run together where the engine takes any number; a fixed batch is filled up, and an engine
        with one of 1 runs requests one by one. A request waits for others for up to `wait_s`."""
        self._engine, self._in_work, self._wait_s = engine, in_work, wait_s
        sizes = {spec.shape[0] if spec.shape else 1 for spec in (*engine.inputs, *engine.outputs)}
        size = sizes.pop() if len(sizes) == 1 else 1
        self.batch, self._fixed = most if size < 0 else size, max(size, 1)
        self.inputs, self.outputs = engine.inputs, engine.outputs
        if size > 1:
            self.inputs, self.outputs = (tuple(replace(spec, shape=(-1, *spec.shape[1:])) for spec in specs)
                                         for specs in (engine.inputs, engine.outputs))  # fmt: skip
        if isinstance(engine, AcceptsFrames):
            self.run_frames = self._run_frames
        self._changed, self._busy = threading.Condition(), False
        self._waiting: list[_Request] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        check_inputs(self.inputs, inputs)
        rows = len(next(iter(inputs.values())))
        if rows > self.batch > 1:
            starts = range(0, rows, self.batch)
            parts = [self.run({n: a[k : k + self.batch] for n, a in inputs.items()}) for k in starts]
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return self._join(_Request(rows, inputs))

    def close(self) -> None:
        self._engine.close()

    def _run_frames(self, frames: Any, rectangles: Any, spec: Any, *, name: str, extra_inputs: Any) -> dict[str, Array]:
        return self._join(_Request(len(frames), extra_inputs, (frames, rectangles, spec, name)))

    def _join(self, request: _Request) -> dict[str, Array]:
        """The outputs of a request. Of the threads that wait, one runs the batch of all."""
        until = clock.monotonic() + self._wait_s
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._busy or request.outputs or request.error)
            while request in self._waiting:
                self._busy = True
                self._changed.wait_for(self._is_full, timeout=max(0.0, until - clock.monotonic()))
                batch = self._taken()
                self._changed.release()
                try:
                    self._run(batch)
                finally:
                    self._changed.acquire()
                    self._busy = False
                    self._changed.notify_all()
        if request.outputs is None:
            raise request.error or RuntimeError("a batch without outputs")
        return request.outputs

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._in_work() or sum(one.rows for one in self._waiting) >= self.batch

    def _taken(self) -> list[_Request]:
        """The first requests that fit into one batch."""
        rows = np.cumsum([one.rows for one in self._waiting])
        like = [one.frames[2:] == self._waiting[0].frames[2:] for one in self._waiting]
        count = max(1, int(np.argmin([*((rows <= self.batch) & like), False])))
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _run(self, batch: list[_Request]) -> None:
        try:
            outputs, start = self._outputs(batch), 0
            for one in batch:
                whole = self.batch == 1 or len(batch) == self._fixed == 1
                rows = slice(None) if whole else slice(start, start := start + one.rows)
                one.outputs = {name: np.array(value[rows]) for name, value in outputs.items()}
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for one in batch:  # only the one that fails gets the error
                self._run([one])

    def _outputs(self, batch: list[_Request]) -> Mapping[str, Array]:
        spare = -sum(one.rows for one in batch) % self._fixed
        inputs = {}
        for name, last in batch[-1].inputs.items():
            inputs[name] = np.concatenate([*(one.inputs[name] for one in batch), *[last[-1:]] * spare])
        frames, rectangles = ([item for one in batch for item in one.frames[n]] for n in (0, 1))
        if not frames:
            return dict(self._engine.run(inputs))
        spec, name = batch[0].frames[2:]
        return dict(self._engine.run_frames(frames, rectangles, spec, name=name, extra_inputs=inputs))


class Turns:
    """At most `most` cameras work at once; of those that wait, the one whose last result is oldest goes first."""

    def __init__(self, most: int, *, now: Callable[[], float] = clock.monotonic) -> None:
        self.most, self._now, self._lock = most, now, threading.Lock()
        self._waiting: dict[str, tuple[float, threading.Event]] = {}
        self._working: dict[str, float] = {}  # Since when
        self._last: dict[str, float] = {}  # When a camera's last turn ended

    @contextmanager
    def turn(self, camera: str, weight: float = 1.0) -> Iterator[None]:
        """A turn of `camera`; the time since its last result counts `weight` times."""
        granted = threading.Event()
        with self._lock:
            self._waiting[camera] = weight, granted
            self._grant()
        try:
            while not granted.wait(1.0):  # one that hangs hands on no turn
                with self._lock:
                    self._grant()
            yield
        finally:
            with self._lock:
                del self._working[camera]
                self._last[camera] = self._now()
                self._grant()

    def working(self) -> int:
        """How many cameras work now, without those that hang."""
        since = self._now() - HUNG_S
        return sum(begun >= since for begun in list(self._working.values()))

    def _grant(self) -> None:
        """With the lock held."""
        now = self._now()

        def waited(camera: str) -> float:
            return (now - self._last.get(camera, -1e9)) * self._waiting[camera][0]

        while self._waiting and self.working() < self.most:
            chosen = max(self._waiting, key=waited)
            self._working[chosen] = now
            self._waiting.pop(chosen)[1].set()
