"""The command line: argv -> settings -> `Collection.open` -> one method -> terminal or JSON."""

from imgclust.cli.application import app, main

__all__ = ["app", "main"]
