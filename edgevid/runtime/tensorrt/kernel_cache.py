"""The kernels that TensorRT-RTX compiles on the device, cached between starts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from edgevid.files.atomic import write_atomic


class KernelCache:
    """TensorRT-RTX compiles an engine's kernels for the device in its first run: they are cached in a file,
    so that the next start is fast. TensorRT itself has no such step: then nothing is cached."""

    def __init__(self, trt: Any, engine: Any, path: Path | None) -> None:
        self._path = path
        self._runtime_cache: Any = None
        self._runtime_config: Any = None
        if path is None or not hasattr(trt, "IRuntimeCache"):
            return
        runtime_config = engine.create_runtime_config()
        runtime_cache = runtime_config.create_runtime_cache()
        with suppress(OSError):
            runtime_cache.deserialize(path.read_bytes())  # rejects the cache of another version or device
        runtime_config.set_runtime_cache(runtime_cache)
        self._runtime_cache, self._runtime_config = runtime_cache, runtime_config

    def context(self, engine: Any) -> Any:
        """A new execution context that uses the cache."""
        if self._runtime_config is None:
            return engine.create_execution_context()
        return engine.create_execution_context(self._runtime_config)

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
        self._runtime_cache = self._runtime_config = None
