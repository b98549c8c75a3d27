"""Report: a collection as one HTML page, and the parts that other pages share."""

from imgclust.report.pages import FolderPages
from imgclust.report.representing import all_representatives, representatives_of
from imgclust.report.single import MOST_BYTES, ReportResult, report

__all__ = [
    "MOST_BYTES",
    "FolderPages",
    "ReportResult",
    "all_representatives",
    "report",
    "representatives_of",
]
