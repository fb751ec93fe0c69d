"""One execution context of a TensorRT engine with its buffers, stream and recorded graphs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError, ModelError, log
from edgevid.files.atomic import write_atomic
from edgevid.runtime.cuda.interface import Cuda, Graph, Memory, Pinned
from edgevid.runtime.cuda.letterbox import DeviceLetterbox
from edgevid.runtime.engine import InputSpec, Rectangle, TensorSpec, input_shape, write_letterbox
from edgevid.types import Array, Frame


class KernelCache:
    """TensorRT-RTX compiles an engine's kernels for the device in its first run: they are cached in a file,
    so that the next start is fast. TensorRT itself has no such step: then nothing is cached."""

    def __init__(self, trt: Any, engine: Any, path: Path | None) -> None:
        self._path = path
        self._runtime_cache: Any = None
        self._config: tuple[Any, ...] = ()  # What a context is made with: nothing, or the configuration
        if path is not None and hasattr(trt, "IRuntimeCache"):
            self._config = (engine.create_runtime_config(),)
            self._runtime_cache = self._config[0].create_runtime_cache()
            with suppress(OSError):
                self._runtime_cache.deserialize(path.read_bytes())  # rejects the cache of another version or device
            self._config[0].set_runtime_cache(self._runtime_cache)

    def context(self, engine: Any) -> Any:
        """A new execution context that uses the cache."""
        return engine.create_execution_context(*self._config)

    def save(self) -> None:
        """Writes the file in one step if the cache has changed; a read-only folder is no error."""
        if self._runtime_cache is None or self._path is None:
            return
        kept = bytes(self._runtime_cache.serialize())
        with suppress(OSError):
            if self._path.is_file() and self._path.read_bytes() == kept:
                return
            write_atomic(self._path, kept)

    def close(self) -> None:
        """Frees the cache; to be called before the engine is freed."""
        self._runtime_cache, self._config = None, ()


KEPT_GRAPHS = 8  # Shapes whose runs are kept as CUDA graphs; further ones run without one
Shapes = tuple[tuple[int, ...], ...]


def shape_of(dims: Any) -> tuple[int, ...]:
    """A shape of TensorRT as plain numbers."""
    return tuple(int(n) for n in dims)


class Buffer:
    """Page-locked host memory and device memory of one tensor, as large as its greatest shape."""

    def __init__(self, cuda: Cuda, spec: TensorSpec, greatest: tuple[int, ...]) -> None:
        self.spec = spec
        size = int(np.prod(greatest)) * spec.dtype.itemsize
        self._host: Pinned = cuda.pinned((size,), np.uint8)
        self.device: Memory = cuda.alloc(size)
        self.view: Array = np.empty(0, spec.dtype)

    def shape(self, shape: tuple[int, ...]) -> None:
        """Makes `view` the host array of a shape."""
        size = int(np.prod(shape)) * self.spec.dtype.itemsize
        self.view = self._host.array[:size].view(self.spec.dtype).reshape(shape)

    def close(self) -> None:
        """Frees both."""
        self.view = np.empty(0, self.spec.dtype)
        self._host.close()
        self.device.close()


class Session:
    """Runs an engine; used by one thread at a time. Close it before its `cuda`."""

    def __init__(self, trt: Any, runtime: Any, engine: Any, cuda: Cuda, path: Path, *, graphs: bool,
                 cache: Path | None) -> None:  # fmt: skip
        self._cuda, self._runtime, self._engine, self._path = cuda, runtime, engine, path
        self._closers: list[Callable[[], None]] = []
        self._graphs: dict[tuple[Shapes, str], Graph] = {}
        self._warm: set[tuple[Shapes, str]] = set()
        self._record, self._by_device = graphs, True
        self._letterbox: DeviceLetterbox | None = None
        self._shapes: Shapes = ()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        takes = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self.inputs = tuple(self._spec(trt, n) for n in takes)
        self.outputs = tuple(self._spec(trt, n) for n in names if n not in takes)
        self._kernels = KernelCache(trt, engine, cache)
        self._context = self._kernels.context(engine)
        if self._context is None:
            raise ModelError(f"{path}: no memory for its execution context; close other engines")
        try:
            self._allocate(trt)
        except BaseException:
            self.close()
            raise

    def _spec(self, trt: Any, name: str) -> TensorSpec:
        engine = self._engine
        if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
            raise ModelError(f"{self._path}: tensor {name!r} is a shape tensor; export with fixed shapes")
        kind = engine.get_tensor_dtype(name)
        try:
            dtype = np.dtype(trt.nptype(kind))
        except (TypeError, KeyError):
            raise ModelError(f"{self._path}: tensor {name!r} has type {kind}, which NumPy does not have") from None
        return TensorSpec(name, shape_of(engine.get_tensor_shape(name)), dtype)

    def _allocate(self, trt: Any) -> None:
        engine = self._engine
        self.stream = self._cuda.stream()
        self._closers.append(self.stream.close)
        self._limits = {spec.name: [shape_of(s) for s in engine.get_tensor_profile_shape(spec.name, 0)]
                        if min(spec.shape, default=1) < 0 else [spec.shape] * 3 for spec in self.inputs}  # fmt: skip
        greatest = tuple(self._limits[spec.name][2] for spec in self.inputs)
        found = self._infer(greatest)
        shapes = [*greatest, *found]
        self._buffers: dict[str, Buffer] = {}
        for spec, shape in zip((*self.inputs, *self.outputs), shapes, strict=True):
            buffer = Buffer(self._cuda, spec, shape)
            self._closers.append(buffer.close)
            self._buffers[spec.name] = buffer
            if not self._context.set_tensor_address(spec.name, buffer.device.address):
                raise ModelError(f"{self._path}: TensorRT rejects the address of tensor {spec.name!r}")
        self._take(greatest, found)

    def _infer(self, shapes: Shapes) -> Shapes:
        """Sets the inputs' shapes and gives the outputs'."""
        for spec, shape in zip(self.inputs, shapes, strict=True):
            if not self._context.set_input_shape(spec.name, shape):
                raise InputError(f"{self._path}: input {spec.name!r} does not accept shape {shape}")
        found = tuple(shape_of(self._context.get_tensor_shape(spec.name)) for spec in self.outputs)
        for spec, shape in zip(self.outputs, found, strict=True):
            if min(shape, default=1) < 0:
                raise ModelError(f"{self._path}: the shape of output {spec.name!r} depends on "
                                 f"the image {shape}; export the model without suppression "
                                 "(nms=False), or with a fixed number of boxes")  # fmt: skip
        return found

    def _take(self, shapes: Shapes, outputs: Shapes) -> None:
        self._shapes = shapes
        for spec, shape in zip((*self.inputs, *self.outputs), (*shapes, *outputs), strict=True):
            self._buffers[spec.name].shape(shape)

    def _reshape(self, shapes: Shapes) -> None:
        """Sets the inputs' shapes; InputError outside of the range that the engine was built for."""
        if shapes == self._shapes:
            return
        for spec, shape in zip(self.inputs, shapes, strict=True):
            least, _, most = self._limits[spec.name]
            if not all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True)):
                raise InputError(f"engine input {spec.name!r}: expected {least} to {most}, got {shape}; build the "
                                 "engine for this range with `edgevid build --batch MIN,OPT,MAX`")  # fmt: skip
        self._take(shapes, self._infer(shapes))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs, in arrays that the next run overwrites."""
        with self._cuda.current():
            self._reshape(tuple(inputs[spec.name].shape for spec in self.inputs))
            for spec in self.inputs:
                np.copyto(self._buffers[spec.name].view, inputs[spec.name])
            return self._go("")

    def run_frames(self, frames: Sequence[Frame], rectangles: Sequence[Rectangle], spec: InputSpec, name: str,
                   extra_inputs: dict[str, Array]) -> dict[str, Array]:  # fmt: skip
        """The outputs, with the input `name` preprocessed on the device."""
        expected = next((i for i in self.inputs if i.name == name), None)
        if expected is None or {i.name for i in self.inputs} != {name, *extra_inputs}:
            raise InputError(f"engine inputs: expected {[i.name for i in self.inputs]}, got {[name, *extra_inputs]}")
        if len(frames) > (one := expected.shape[0] if expected.shape[0] > 0 else len(frames)):
            raise InputError(f"engine input {name!r}: expected at most {one} frames, got {len(frames)}")
        with self._cuda.current():
            tail = self._limits[name][2][1:]
            sizes = {name: (one, *tail)} | {other: array.shape for other, array in extra_inputs.items()}
            self._reshape(tuple(sizes[i.name] for i in self.inputs))
            for other, array in extra_inputs.items():
                np.copyto(self._buffers[other].view, array)
            if tail != input_shape(spec) or expected.dtype != np.dtype(spec.dtype):
                raise InputError(f"engine input {expected}: does not fit images of {spec}")
            buffer, letterbox = self._buffers[name], self._letterbox_for(spec, name)
            if letterbox is None:
                for row, (frame, rectangle) in enumerate(zip(frames, rectangles, strict=True)):
                    write_letterbox(frame, rectangle, spec, buffer.view[row])
                return self._go("")
            letterbox.write(frames, rectangles, buffer.device.address, self.stream)
            return self._go(name)

    def _letterbox_for(self, spec: InputSpec, name: str) -> DeviceLetterbox | None:
        """The device's letterbox; None, with one warning, where its kernels do not load."""
        if self._letterbox is not None and self._letterbox.spec != spec:
            self._letterbox.close()
            self._letterbox = None
        if self._letterbox is None and self._by_device:
            try:
                self._letterbox = DeviceLetterbox(self._cuda, spec, self._limits[name][2][0])
            except ModelError as error:
                log.warning("%s: frames are letterboxed by the CPU: %s", self._path.name, error)
                self._by_device = False
        return self._letterbox

    def _go(self, made: str) -> dict[str, Array]:
        """Runs the engine on its buffers; input `made` is on the device already."""
        key = (self._shapes, made)
        graph = self._graphs.get(key)
        if graph is None and self._record and key in self._warm and len(self._graphs) < KEPT_GRAPHS:
            try:
                graph = self._graphs[key] = Graph(self._cuda, self.stream, lambda: self._enqueue(made))
            except ModelError as error:
                log.info("%s: runs without a CUDA graph, it cannot be recorded (%s)", self._path.name, error)
                self._record = False
        if graph is not None:
            graph.launch(self.stream)
        else:
            self._enqueue(made)
            self._warm.add(key)  # TensorRT initializes itself in the first run of a shape
        self.stream.synchronize()
        return {spec.name: self._buffers[spec.name].view for spec in self.outputs}

    def _enqueue(self, made: str) -> None:
        for spec in self.inputs:
            if spec.name != made:
                buffer = self._buffers[spec.name]
                self._cuda.upload(buffer.device.address, buffer.view, self.stream)
        if not self._context.execute_async_v3(self.stream.handle):
            raise ModelError(f"{self._path}: TensorRT could not start the run; its log (DEBUG) has the cause")
        for spec in self.outputs:
            buffer = self._buffers[spec.name]
            self._cuda.download(buffer.view, buffer.device.address, self.stream)

    def close(self) -> None:
        """Frees everything, the context and the engine before their memory; a second call does nothing."""
        with self._cuda.current():
            if self._closers:
                self.stream.synchronize()
            for graph in self._graphs.values():
                graph.close()
            self._graphs.clear()
            if self._letterbox is not None:
                self._letterbox.close()
                self._letterbox = None
            if self._context is not None:
                self._kernels.save()
            self._context = None
            self._kernels.close()
            self._engine = self._runtime = None
            while self._closers:
                self._closers.pop()()
