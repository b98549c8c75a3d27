"""Settings (interim: environment reading only; settings types follow)."""

from __future__ import annotations

import os


def environment(name: str) -> str | None:
    """Value of the environment variable `name`, None when unset or empty."""
    return os.environ.get(name) or None
