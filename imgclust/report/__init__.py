"""Report: a collection as one HTML page, and the parts that other pages share."""

from imgclust.report.pages import FolderPages
from imgclust.report.representing import all_representatives, representatives_of

__all__ = ["FolderPages", "all_representatives", "representatives_of"]
