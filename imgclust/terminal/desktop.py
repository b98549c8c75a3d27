"""Opening a file with the program that the desktop has for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from imgclust import config
from imgclust.errors import ImgclustError
from imgclust.terminal.text import printable

# An opener that has not failed by then shows the file, and may run as long as that.
_PATIENCE_S = 5.0


def open_file(path: bytes) -> None:
    """Open a file as a double click on it would.

    Raises
    ------
    ImgclustError
        When there is no desktop, or its opener fails.
    """
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    shown = printable(path)
    if shutil.which(opener) is None or not _has_desktop():
        raise ImgclustError(f"there is no desktop here to open {shown}")
    running = subprocess.Popen(
        [opener, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = running.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return
    if code:
        raise ImgclustError(f"{os.path.basename(opener)} cannot open {shown}")


def _has_desktop() -> bool:
    variables = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(config.environment(name) for name in variables)
