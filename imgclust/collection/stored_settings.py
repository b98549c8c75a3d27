"""What a collection is lives in its catalog; what a file or a flag says must agree with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from imgclust.catalog.catalog import Catalog
from imgclust.config import Effective, Settings
from imgclust.errors import RecipeError, UsageError

# Settings that belong to the collection from its first use on, and the command that changes each.
KEPT = {
    "links.mode": "imgclust links --link-mode MODE",
    "links.folder": "imgclust links --folder TEMPLATE",
    "links.named_folder": "imgclust links --named-folder TEMPLATE",
    "links.order": "imgclust links --order ORDER",
    "links.outliers": "imgclust links --outliers (or --no-outliers)",
    "clustering.space": "imgclust cluster --space SPACE",
    "clustering.pca_dims": "imgclust cluster --pca-dims N",
    "clustering.standardise": "a new collection",
    "clustering.tsne": "a new collection",
    "embedding.raw": "imgclust reembed --raw (or --no-raw)",
    "watch.exclude": "imgclust watch --exclude PATTERN (or --no-exclude)",
    "watch.exclude_folders": "a configuration file",
}
_SPACE = "clustering.space"
# The default of collections that are older than the space `smoothed`; these keep it whether or not
# somebody has chosen it. Once somebody has, the catalog says so.
_OLD_SPACE, _NEW_SPACE = "pca", "smoothed"
_SPACE_CHOSEN = "space_chosen"
# What is given for one of these replaces what the collection keeps, instead of being refused.
REPLACED = frozenset({"watch.exclude", "watch.exclude_folders"})


def settle(catalog: Catalog, effective: Effective, *, changing: frozenset[str]) -> Settings:
    """The settings of a collection: what its catalog keeps wins over defaults.

    The first call on a new catalog keeps what the settings say. A setting named in `changing` may
    differ; `keep` stores it once the work that changes it has succeeded.

    Raises
    ------
    UsageError
        When a file, variable or flag says something else than what the collection keeps.
    """
    kept: dict[str, Any] = catalog.setting("kept") or {}
    settings = effective.settings
    values: dict[str, Any] = {}
    moves = moves_to_smoothed(catalog, effective, changing=changing)
    for key, command in KEPT.items():
        section, _, name = key.partition(".")
        value = getattr(getattr(settings, section), name)
        if key in kept and key not in changing and value != _kept(kept[key]):
            if effective.origin[key] != "default":
                if key in REPLACED:
                    values[key] = value
                    continue
                if key == _SPACE and moves and value == _NEW_SPACE:
                    values[key] = _OLD_SPACE  # until the next `cluster`
                    continue
                raise UsageError(
                    f"{key} is {kept[key]!r} for this collection, but {effective.origin[key]} says "
                    f"{value!r}; it can be changed by {command}"
                )
            value = _kept(kept[key])
        values[key] = value
    if not kept:
        keep(catalog, settings, changing=frozenset({_SPACE}))
    return replaced(settings, values)


def keep(catalog: Catalog, settings: Settings, *, changing: frozenset[str]) -> None:
    """Store the settings named in `changing`, and those that the catalog does not keep yet."""
    with catalog.transaction():
        kept: dict[str, Any] = catalog.setting("kept") or {}
        values = dict(kept)
        for key in KEPT:
            if key in changing or key not in kept:
                section, _, name = key.partition(".")
                values[key] = getattr(getattr(settings, section), name)
        if values != kept:
            catalog.store("kept", values)
        if _SPACE in changing:
            catalog.store(_SPACE_CHOSEN, True)


def moves_to_smoothed(catalog: Catalog, effective: Effective, *, changing: frozenset[str]) -> bool:
    """Whether the space is the old default `pca`, and nobody is known to have chosen it.

    The next `cluster` that a person runs changes it to `smoothed`.
    """
    kept: dict[str, Any] = catalog.setting("kept") or {}
    if kept.get(_SPACE) != _OLD_SPACE or catalog.setting(_SPACE_CHOSEN):
        return False
    if changing & {_SPACE, "clustering.pca_dims"}:  # said now
        return False
    given = effective.origin[_SPACE] != "default"
    return not given or effective.settings.clustering.space != _OLD_SPACE


def settle_space(catalog: Catalog, *, moves: bool) -> None:
    """Keep the space that `cluster` was run in: `smoothed` where it `moves`, or what it was."""
    with catalog.transaction():
        if moves:
            catalog.store("kept", catalog.setting("kept") | {_SPACE: _NEW_SPACE})
        catalog.store(_SPACE_CHOSEN, True)


def now(catalog: Catalog, settings: Settings, *, changing: frozenset[str]) -> Settings:
    """The settings with what the catalog keeps now: another process may have changed it since."""
    kept: dict[str, Any] = catalog.setting("kept") or {}
    return replaced(settings, {key: _kept(kept[key]) for key in kept if key not in changing})


def _kept(value: Any) -> Any:
    """A value as the catalog gives it back: JSON knows no tuples."""
    return tuple(value) if isinstance(value, list) else value


def replaced(settings: Settings, values: dict[str, Any]) -> Settings:
    """Settings with some values by dotted name replaced."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    return dataclasses.replace(
        settings,
        **{
            section: dataclasses.replace(getattr(settings, section), **chosen)
            for section, chosen in sections.items()
        },
    )


def check_weights(catalog: Catalog, effective: Effective) -> None:
    """Refuse weights other than those that the collection's embeddings were made with.

    Raises
    ------
    RecipeError
        Naming both.
    """
    kept = catalog.setting("weights")
    wanted = effective.settings.embedding.weights
    if kept is None or wanted in {"auto", kept["name"]}:
        return
    if kept["name"] == "file" and Path(wanted).expanduser().absolute() == Path(kept["path"]):
        return
    raise RecipeError(
        f"this collection is embedded with the weights {kept['name']!r}, but "
        f"{effective.origin['embedding.weights']} says {wanted!r}; embeddings of two recipes never "
        "mix: imgclust reembed changes over, or use another --collection"
    )
