"""Which value each setting has, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgclust import config
from imgclust.collection import folders
from imgclust.collection.collection import Collection
from imgclust.collection.folders import IndexFolder
from imgclust.collection.stored_settings import KEPT, REPLACED
from imgclust.config import Effective

KEPT_BY = "the collection"


@dataclass(frozen=True)
class SettingRow:
    """A setting by dotted name; `origin` is "default", a file, a variable, or "the collection"."""

    key: str
    value: Any
    default: Any
    origin: str

    @property
    def changed(self) -> bool:
        """True when the value is not the default one."""
        return bool(self.value != self.default)


@dataclass(frozen=True)
class EffectiveSettings:
    """The settings that commands work with, and the folders that they work in."""

    index: IndexFolder
    collection: str
    cache: Path
    settings: tuple[SettingRow, ...]


def effective_settings(
    index: Path | None = None, name: str = "default", *, effective: Effective | None = None
) -> EffectiveSettings:
    """Every setting with its value and origin; a collection need not be there.

    Raises
    ------
    UsageError
        When a file or variable says something else than what the collection keeps.
    """
    found = folders.find_index_folder(index)
    place = folders.folders_of(found, name)
    given = effective or config.load()
    values, origin = config.flatten(given.settings), dict(given.origin)
    if place.catalog.is_file():
        with Collection.open(found.path, name, effective=given) as collection:
            values = config.flatten(collection.settings)
            replaced = {key for key in REPLACED if origin[key] != "default"}
            origin |= dict.fromkeys(KEPT.keys() - replaced, KEPT_BY)
            weights = collection.catalog.setting("weights")
            if weights is not None:
                _ = collection.recipe  # other weights are refused, as by every command
                chosen = weights["path"] if weights["name"] == "file" else weights["name"]
                values["embedding.weights"] = chosen
                origin["embedding.weights"] = KEPT_BY
    defaults = config.flatten(config.Settings())
    return EffectiveSettings(
        index=found,
        collection=name,
        cache=folders.cache_folder(),
        settings=tuple(
            SettingRow(key, values[key], defaults[key], origin[key]) for key in defaults
        ),
    )
