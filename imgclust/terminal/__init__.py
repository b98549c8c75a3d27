"""What people see: sentences, tables, a progress bar, questions."""

from imgclust.terminal.screen import Screen, speaks_utf8
from imgclust.terminal.words import printable, shortened

__all__ = ["Screen", "printable", "shortened", "speaks_utf8"]
