"""What databases, records and event files tell: reports, queries, and deletion."""

from edgevid.report.forget import Selection, forget
from edgevid.report.page import page
from edgevid.report.report import Report, View, interval_of
from edgevid.report.store import Store

__all__ = ["Report", "Selection", "Store", "View", "forget", "interval_of", "page"]
