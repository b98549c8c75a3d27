"""What lasts through a loss of power."""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Wait until the disk has the bytes of a file.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path | bytes) -> None:
    """Wait until the disk has what was made, renamed and removed in a folder.

    Raises
    ------
    OSError
        When it is no folder, or its file system cannot do this.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
