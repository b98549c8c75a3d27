"""imgclust: watches folders of images, embeds each new one once, keeps the clusters up to date.

The public Python API is `Collection` and the frozen results that its methods return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgclust.collection import Collection

__version__ = "0.1.0"
__all__ = ["Collection", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `imgclust --help` and `imgclust.__version__` need none of it.
    if name == "Collection":
        from imgclust.collection import Collection

        globals()[name] = Collection
        return Collection
    raise AttributeError(f"module 'imgclust' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
