"""What people see: sentences, tables, a progress bar, questions."""

from imgclust.terminal.screen import Screen
from imgclust.terminal.table import shortened

__all__ = ["Screen", "shortened"]
