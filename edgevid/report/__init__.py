"""What databases, records and event files tell: reports, queries, and deletion."""

from edgevid.report.forget import Selection, forget
from edgevid.report.page import page
from edgevid.report.store import Report, Store, View, interval_of

__all__ = ["Report", "Selection", "Store", "View", "forget", "interval_of", "page"]
