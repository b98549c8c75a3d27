"""Settings: frozen types with their defaults, and the only reader of TOML and the environment.

Layers, later wins: default < files in the order given < environment < flag. The environment
variable of `[watch] settle_s` is `IMGCLUST_WATCH_SETTLE_S`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_type_hints

from imgclust.errors import UsageError


def environment(name: str) -> str | None:
    """Value of the environment variable `name`, None when unset or empty."""
    return os.environ.get(name) or None


def _setting(default: Any, text: str, choices: tuple[Any, ...] = (), *, least: float = 0) -> Any:
    return field(default=default, metadata={"text": text, "choices": choices, "least": least})


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How files come in."""

    settle_s: float = _setting(1.0, "seconds a file must stay unchanged before it is read")
    rescan_s: float = _setting(300.0, "seconds between two full scans of the watched folders")
    polling: bool = _setting(False, "never use file events: the full scan is the watch")
    young_s: float = _setting(30.0, "an unreadable file younger than this is tried again")
    retry_s: tuple[float, ...] = _setting((1.0, 5.0, 25.0), "seconds before each such new try")
    missing_scans: int = _setting(3, "healthy scans without a file until it is gone", least=1)
    hold_share: float = _setting(0.2, "hold everything when more than this share vanishes at once")
    hold_images: int = _setting(10, "... and at least this many images", least=1)


@dataclass(frozen=True, kw_only=True)
class Decode:
    """How images are read."""

    workers: int = _setting(0, "worker processes; 0 chooses for this machine")
    time_limit_s: float = _setting(60.0, "seconds a worker may spend on one file")
    memory_limit_mb: int = _setting(4096, "address space of one worker, in MiB", least=1)
    size_cap_mb: int = _setting(512, "larger files are not read, in MiB", least=1)
    pixel_cap_mp: int = _setting(250, "larger pictures are not decoded, in megapixels", least=1)
    thumbnails: bool = _setting(True, "keep a small WebP picture of every content")
    thumbnail_px: int = _setting(160, "longest side of that picture, in pixels", least=1)


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Which network, on what."""

    weights: str = _setting("auto", "auto, imagenet, trunk, or the path of a weights file")
    raw: bool = _setting(False, "pooled values as they are: no square root, no unit length")
    device: str = _setting("auto", "where the network runs", ("auto", "cpu", "gpu"))
    engine: str = _setting("auto", "what runs it", ("auto", "tensorflow", "openvino"))
    precision: str = _setting(
        "auto", "arithmetic of the network", ("auto", "float32", "bfloat16", "float16")
    )
    batch: int = _setting(32, "most images in one batch", least=1)


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """How images are grouped."""

    k: str = _setting("auto", "number of clusters, or auto")
    space: str = _setting("pca", "what k-means runs in", ("embedding", "pca", "tsne"))
    pca_dims: int = _setting(64, "dimensions of the space pca", least=1)
    standardise: bool = _setting(False, "StandardScaler before PCA")
    seed: int = _setting(0, "seed of every random choice")
    k_min: int = _setting(1, "first k of a sweep", least=1)
    k_max: int = _setting(0, "last k of a sweep; 0: 100, above 20,000 images sqrt(n)")
    device: str = _setting("auto", "where k-means runs", ("auto", "cpu", "gpu"))
    first_images: int = _setting(20, "images needed for the first automatic clustering", least=1)
    early_images: int = _setting(1000, "on a long first pass, cluster after so many", least=1)
    early_s: float = _setting(120.0, "... or after this many seconds")
    growth: int = _setting(
        4, "a provisional clustering is renewed at so many times its size", least=2
    )


@dataclass(frozen=True, kw_only=True)
class Links:
    """The tree of link folders."""

    mode: str = _setting("symlink", "what an entry is", ("symlink", "hardlink", "copy"))
    folder: str = _setting("{id:03d}", "folder of a cluster without a name: {id}, {count}")
    named_folder: str = _setting("{id:03d}-{name}", "folder of a cluster with a name")


@dataclass(frozen=True, kw_only=True)
class Views:
    """Maps of the collection."""

    method: str = _setting("tsne", "projection of the map", ("pca", "tsne"))
    dims: int = _setting(2, "dimensions of the map", (2, 3))
    perplexity: float = _setting(30.0, "effective number of neighbours of t-SNE", least=1)
    thumbnails: int = _setting(200, "most thumbnails on a map")


@dataclass(frozen=True, kw_only=True)
class Index:
    """The FAISS index file."""

    device: str = _setting("auto", "where searches run", ("auto", "cpu", "gpu"))
    checkpoint_images: int = _setting(1000, "unsaved changes until the file is written", least=1)
    checkpoint_share: float = _setting(0.05, "... or this share of the index, if larger")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set, by section."""

    watch: Watch = Watch()
    decode: Decode = Decode()
    embedding: Embedding = Embedding()
    clustering: Clustering = Clustering()
    links: Links = Links()
    views: Views = Views()
    index: Index = Index()


@dataclass(frozen=True)
class Effective:
    """Settings and where each value came from ("default", a file, a variable, "flag")."""

    settings: Settings
    origin: Mapping[str, str]


def load(files: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> Effective:
    """Merge the layers.

    Parameters
    ----------
    files
        Paths of TOML files, or names of the ones that come with imgclust ("classic").
    flags
        Values by dotted name ("watch.settle_s"); None means that the flag was not given.

    Raises
    ------
    UsageError
        For an unreadable file, an unknown key (naming the nearest right one) or a wrong value.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = dict.fromkeys(_fields(), "default")
    for name in files:
        path = find_file(name)
        for key, value in _read(path).items():
            values[key], origin[key] = _checked(key, value, str(path)), str(path)
    for key in _fields():
        variable = "IMGCLUST_" + key.replace(".", "_").upper()
        text = environment(variable)
        if text is not None:
            values[key], origin[key] = _checked(key, _from_text(key, text), variable), variable
    for key, value in (flags or {}).items():
        if value is not None:
            values[key], origin[key] = _checked(key, value, "the command line"), "flag"
    sections = {}
    for section in dataclasses.fields(Settings):
        chosen = {
            key.partition(".")[2]: value
            for key, value in values.items()
            if key.partition(".")[0] == section.name
        }
        sections[section.name] = dataclasses.replace(getattr(Settings(), section.name), **chosen)
    return Effective(Settings(**sections), origin)


def bundled_folder() -> Path:
    """Folder of the configuration files that come with imgclust."""
    here = Path(__file__).parent
    inside = here / "configs"
    return inside if inside.is_dir() else here.parent / "configs"


def find_file(name: str) -> Path:
    """Path of a configuration file given by path, or by the name of a bundled one."""
    if os.sep not in name and not name.endswith(".toml"):
        path = bundled_folder() / f"{name}.toml"
        if path.is_file():
            return path
        known = sorted(file.stem for file in bundled_folder().glob("*.toml"))
        raise UsageError(f"no configuration is called {name!r}; there are {', '.join(known)}")
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"the configuration file {name} does not exist")
    return path


def default_toml() -> str:
    """Text of `configs/default.toml`: every setting with its default and what it means."""
    lines = [
        "# Every setting of imgclust with its default. Made from imgclust/config.py by",
        "# scripts/lint --write; copy the lines that you change into a file of your own.",
    ]
    for section in dataclasses.fields(Settings):
        kind = type(getattr(Settings(), section.name))
        lines += ["", f"# {kind.__doc__}", f"[{section.name}]"]
        for item in dataclasses.fields(kind):
            text = item.metadata["text"]
            choices = item.metadata["choices"]
            lines.append(f"# {text}" + (f" ({_listed(choices)})" if choices else ""))
            lines.append(f"{item.name} = {_to_toml(item.default)}")
    return "\n".join(lines) + "\n"


def flatten(settings: Settings) -> dict[str, Any]:
    """Settings by dotted name."""
    return {
        key: getattr(getattr(settings, key.partition(".")[0]), key.partition(".")[2])
        for key in _fields()
    }


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {
        f"{section.name}.{item.name}": item
        for section in dataclasses.fields(Settings)
        for item in dataclasses.fields(type(getattr(Settings(), section.name)))
    }


def _kind(key: str) -> Any:
    section, _, name = key.partition(".")
    return get_type_hints(type(getattr(Settings(), section)))[name]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the configuration file {path} cannot be read: {error}") from None
    flat: dict[str, Any] = {}
    for section, content in document.items():
        if not isinstance(content, dict):
            raise UsageError(f"{path}: {section!r} must stand in a section{_nearest(section)}")
        flat.update({f"{section}.{name}": value for name, value in content.items()})
    return flat


def _nearest(key: str) -> str:
    known = list(_fields())
    near = [name for name in known if name.partition(".")[2] == key.rpartition(".")[2]]
    near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else "; `configs/default.toml` lists every setting"


def _checked(key: str, value: Any, where: str) -> Any:
    if key not in _fields():
        raise UsageError(f"{where}: there is no setting {key}{_nearest(key)}")
    kind = _kind(key)
    wrong = UsageError(f"{where}: {key} = {value!r} is no {_in_words(kind)}")
    if key == "clustering.k":
        if str(value) != "auto" and not (str(value).isdigit() and int(value) > 0):
            raise UsageError(f"{where}: {key} = {value!r} is neither auto nor a positive number")
        return str(value)
    if get_args(kind):
        if not isinstance(value, list | tuple) or not all(_is_number(item) for item in value):
            raise wrong
        if any(item < 0 for item in value):
            raise UsageError(f"{where}: {key} = {value!r} has a negative number")
        return tuple(float(item) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind in (int, float) and not _is_number(value)):
        raise wrong
    choices, least = _fields()[key].metadata["choices"], _fields()[key].metadata["least"]
    if choices and value not in choices:
        raise UsageError(f"{where}: {key} = {value!r} is not one of {_listed(choices)}")
    if kind in (int, float) and value < least:
        raise UsageError(f"{where}: {key} = {value!r} is less than {least}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _listed(choices: tuple[Any, ...]) -> str:
    return ", ".join(str(choice) for choice in choices)


def _in_words(kind: Any) -> str:
    words = {float: "number", int: "whole number", bool: "true or false", str: "text"}
    return words.get(kind, "list of numbers")


def _from_text(key: str, text: str) -> Any:
    kind = _kind(key)
    try:
        if kind is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if get_args(kind):
            return [float(part) for part in text.split(",")]
        return kind(text)
    except (ValueError, KeyError):
        return text


def _to_toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(str(item) for item in value) + "]"
    return str(value)
