"""What people see: sentences, tables, a progress bar, questions."""

from imgclust.terminal.screen import Screen
from imgclust.terminal.text import printable, shortened

__all__ = ["Screen", "printable", "shortened"]
