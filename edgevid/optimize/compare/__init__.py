"""Two engines on the same frames."""

from edgevid.optimize.compare.gate import ParityReport, compare_engines, write_report

__all__ = ["ParityReport", "compare_engines", "write_report"]
