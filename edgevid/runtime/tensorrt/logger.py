"""What TensorRT reports while it builds or loads an engine."""

from typing import Any

from edgevid.errors import log

MARK = "LayerType: "  # In the builder's messages that describe kernels, and in no others


def make_logger(trt: Any) -> Any:
    """A logger that collects errors, warnings and descriptions of kernels; errors and warnings go to the log, too."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the package comes at run time
        def __init__(self) -> None:
            super().__init__()
            self.errors, self.warnings, self.kernels = list[str](), list[str](), list[str]()

        def log(self, severity: Any, message: str) -> None:
            kinds = trt.ILogger.Severity
            if severity in (kinds.INTERNAL_ERROR, kinds.ERROR, kinds.WARNING):
                (self.warnings if severity == kinds.WARNING else self.errors).append(message)
                log.debug("%s", message)
            elif MARK in message:
                self.kernels.append(message)

        def reason(self) -> str:
            return "; ".join(" ".join(e.split()) for e in self.errors[-3:]) or "the log gives no reason"

    return Logger()
