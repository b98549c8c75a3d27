"""The command line: argv -> settings -> `Collection.open` -> one method -> terminal or JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgclust.cli.application import app, main

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from imgclust.devices import unsupported

    # Asked first: where imgclust cannot run, its commands cannot even be imported.
    reason = unsupported()
    if reason is not None:
        sys.stderr.write(f"imgclust: {reason}\n")
        sys.exit(1)
    from imgclust.cli import application

    return getattr(application, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
