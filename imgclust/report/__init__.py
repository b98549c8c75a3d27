"""Report: a collection as one HTML page, and the parts that other pages share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from imgclust.report.representing import all_representatives, representatives_of

if TYPE_CHECKING:
    from imgclust.report.pages import FolderPages
    from imgclust.report.single import MOST_BYTES, ReportResult, report

__all__ = [
    "MOST_BYTES",
    "FolderPages",
    "ReportResult",
    "all_representatives",
    "report",
    "representatives_of",
]

# Loaded on first use: who asks for representatives makes no page.
_MODULES = {
    "FolderPages": "pages",
    "MOST_BYTES": "single",
    "ReportResult": "single",
    "report": "single",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    value = globals()[name] = getattr(module, name)
    return value
