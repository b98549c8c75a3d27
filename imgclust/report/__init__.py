"""Report: a collection as one HTML page, and the parts that other pages share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from imgclust.clusters.model import all_representatives, representatives_of

if TYPE_CHECKING:
    from imgclust.report.html_report import MOST_BYTES, ReportResult, report
    from imgclust.report.link_pages import FolderPages

__all__ = [
    "MOST_BYTES",
    "FolderPages",
    "ReportResult",
    "all_representatives",
    "report",
    "representatives_of",
]

# Which module these are loaded from, on first use: who asks for representatives makes no page.
_MODULES = {
    "imgclust.report.link_pages": ("FolderPages",),
    "imgclust.report.html_report": ("MOST_BYTES", "ReportResult", "report"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
