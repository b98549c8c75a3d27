"""Collection: what a person works with; opens the parts and offers one method a command."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imgclust.collection import results
from imgclust.devices import unsupported
from imgclust.errors import ImgclustError

if TYPE_CHECKING:
    from imgclust.collection.collection import Collection as Collection
    from imgclust.collection.embedder import download_weights as download_weights
    from imgclust.collection.embedder import list_weights as list_weights
    from imgclust.collection.embedder import verify_weights as verify_weights
    from imgclust.collection.management import collection_row as collection_row
    from imgclust.collection.management import create_collection as create_collection
    from imgclust.collection.management import delete_collection as delete_collection
    from imgclust.collection.management import effective_settings as effective_settings
    from imgclust.collection.management import list_collections as list_collections
    from imgclust.collection.management import rename_collection as rename_collection
    from imgclust.collection.management import restore_collection as restore_collection
    from imgclust.collection.results import *
    from imgclust.paths import cache_folder as cache_folder
    from imgclust.paths import collections_in as collections_in
    from imgclust.paths import find_index_folder as find_index_folder
    from imgclust.progress import Monitor as Monitor
    from imgclust.progress import StopFlag as StopFlag

if not TYPE_CHECKING:  # type checkers read the imports above
    _HOME_OF = results.homes(__file__)
    __all__ = sorted({*_HOME_OF, *results.__all__})

    def __getattr__(name: str) -> Any:
        # Loaded on first use: a command loads what it works with.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if (reason := unsupported()) is not None:
            raise ImgclustError(reason)
        module = import_module(_HOME_OF[name]) if name in _HOME_OF else results
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
