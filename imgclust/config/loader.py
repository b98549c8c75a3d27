"""Reading settings: TOML files and the environment, checked, merged, with their origins."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import string
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from imgclust import numbers
from imgclust.config.settings import Settings
from imgclust.errors import UsageError
from imgclust.fs import NotAFileError, read_regular, require_regular

# Variables that are not settings: where things lie, and faults that tests ask for.
OTHER_VARIABLES = ("IMGCLUST_CACHE", "IMGCLUST_FAILPOINTS", "IMGCLUST_INDEX")

# A file of settings; a wait; characters of a value in a message.
_MOST_BYTES = 1 << 20
_MOST_WAIT_S = 1e6
_MOST_SHOWN = 80


def environment(name: str) -> str | None:
    """Value of the environment variable `name`, None when unset or empty."""
    return os.environ.get(name) or None


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
        For an unreadable file, an unknown section, key or variable (naming the nearest right one),
        or a wrong value.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = dict.fromkeys(_fields(), "default")
    for name in files:
        path = find_file(name)
        for key, value in _read(path).items():
            values[key], origin[key] = _checked(key, value, str(path)), str(path)
    variables = {key: variable_of(key) for key in _fields()}
    _check_variables(os.environ, variables.values())
    for key, variable in variables.items():
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
    here = Path(__file__).parents[1]
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
    try:
        require_regular(path)
    except NotAFileError as error:
        raise UsageError(f"{name} is {error.kind}; a configuration is a file") from None
    if not path.is_file():
        raise UsageError(f"the configuration file {name} does not exist")
    return path


def default_toml() -> str:
    """Text of `configs/default.toml`: every setting with its default and what it means."""
    lines = [
        "# Every setting of imgclust with its default. Made from imgclust/config by",
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


def variable_of(key: str) -> str:
    """Name of the environment variable of a setting."""
    return "IMGCLUST_" + key.replace(".", "_").upper()


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


def _sections() -> list[str]:
    return [section.name for section in dataclasses.fields(Settings)]


def _kind(key: str) -> Any:
    section, _, name = key.partition(".")
    return get_type_hints(type(getattr(Settings(), section)))[name]


def _check_variables(given: Iterable[str], settings: Iterable[str]) -> None:
    """Refuse a variable that looks like ours and means nothing."""
    known = {*settings, *OTHER_VARIABLES}
    for name in sorted(given):
        if name.startswith("IMGCLUST_") and name not in known and environment(name):
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "imgclust config show lists them"
            raise UsageError(f"the environment variable {name} sets nothing; {hint}")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(read_regular(path, most_bytes=_MOST_BYTES).decode("utf-8"))
    except OSError as error:
        reason = error.strerror
        raise UsageError(f"the configuration file {path} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"the configuration file {path} cannot be read: it is not UTF-8 text"
        ) from None
    except RecursionError:
        raise UsageError(f"the configuration file {path} is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits is another than TOML's own
        reason = str(error).partition(";")[0]
        raise UsageError(f"the configuration file {path} cannot be read: {reason}") from None
    flat: dict[str, Any] = {}
    for section, content in document.items():
        if not isinstance(content, dict):
            raise UsageError(f"{path}: {section!r} must stand in a section{_nearest(section)}")
        if not content and section not in _sections():
            near = difflib.get_close_matches(section, _sections(), n=1, cutoff=0.5)
            hint = f"did you mean [{near[0]}]?" if near else f"there are {', '.join(_sections())}"
            raise UsageError(f"{path}: there is no section [{section}]; {hint}")
        flat.update({f"{section}.{name}": value for name, value in content.items()})
    return flat


def _nearest(key: str) -> str:
    known = list(_fields())
    same = [name for name in known if name.partition(".")[2] == key.rpartition(".")[2]]
    near = difflib.get_close_matches(key, same, n=1, cutoff=0.0) or difflib.get_close_matches(
        key, known, n=1, cutoff=0.5
    )
    return f"; did you mean {near[0]}?" if near else "; imgclust config show lists every setting"


def _checked(key: str, value: Any, where: str) -> Any:
    if key not in _fields():
        raise UsageError(f"{where}: there is no setting {key}{_nearest(key)}")
    kind = _kind(key)
    wrong = UsageError(f"{where}: {key} = {_shown(value)} is no {_in_words(kind)}")
    if key == "clustering.k":
        numbers.count_or_auto(value, name=f"{where}: {key}")
        return str(value)
    if key == "clustering.recluster_every":
        if isinstance(value, bool) or (
            value != "off" and numbers.recurrence(numbers.written(value)) is None
        ):
            raise UsageError(
                f"{where}: {key} = {_shown(value)} is neither a number of images (5000), a time "
                "(12h, 7d) nor off"
            )
        return str(value)
    if key == "watch.hours" and not (
        isinstance(value, str) and (value == "" or numbers.hours(value))
    ):
        raise UsageError(
            f"{where}: {key} = {_shown(value)} is not a span of hours such as 22:00-06:00"
        )
    if kind == tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(
            isinstance(item, str) and item for item in value
        ):
            raise wrong
        return tuple(value)
    if get_args(kind):
        if not isinstance(value, list | tuple) or not all(_is_number(item) for item in value):
            raise wrong
        if any(item < 0 for item in value):
            raise UsageError(f"{where}: {key} = {value!r} has a negative number")
        if any(item > _MOST_WAIT_S for item in value):
            raise UsageError(f"{where}: {key} = {value!r} has a number above {_MOST_WAIT_S:.0f}")
        return tuple(float(item) for item in value)
    if kind is float and isinstance(value, int) and _is_number(value):
        value = float(value)
    if not isinstance(value, kind) or (kind in (int, float) and not _is_number(value)):
        raise wrong
    if key == "views.elbow" and not _is_picture(value):
        raise UsageError(f"{where}: {key} = {value!r} is not a file name that ends in .png or .svg")
    if key in {"links.folder", "links.named_folder"}:
        try:
            check_template(value)
        except UsageError as error:
            raise UsageError(f"{where}: {key}: {error}") from None
    choices, least, most = (_fields()[key].metadata[name] for name in ("choices", "least", "most"))
    if choices and value not in choices:
        raise UsageError(f"{where}: {key} = {value!r} is not one of {_listed(choices)}")
    if kind in (int, float) and value < least:
        raise UsageError(f"{where}: {key} = {value!r} is less than {least}")
    if kind in (int, float) and value > most:
        raise UsageError(f"{where}: {key} = {_shown(value)} is more than {most:.0f}")
    return value


def check_template(template: str) -> None:
    """Refuse a template that cannot name the folder of a cluster.

    Raises
    ------
    UsageError
        When it cannot be read, lacks `{id}`, or has a field that is not there.
    """
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(template) if field}
    except ValueError as error:
        raise UsageError(f"folder template {template!r} cannot be read: {error}") from error
    if "id" not in fields or not fields <= {"id", "name", "count"}:
        raise UsageError(
            f"folder template {template!r}: it needs {{id}}, and may have {{name}} and {{count}}"
        )
    try:
        template.format(id=1, name="name", count=1)
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise UsageError(f"folder template {template!r} cannot be read: {error}") from error


def _shown(value: Any) -> str:
    """A value for a message: not all of it where it is long; Python refuses the longest numbers."""
    try:
        shown = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."


def _is_picture(template: str) -> bool:
    try:
        name = template.format(dims=2)
    except (ValueError, LookupError, AttributeError):
        return False
    return "/" not in name and not name.startswith(".") and name.endswith((".png", ".svg"))


def _is_number(value: Any) -> bool:
    # Compared, not converted: no float comes near to the largest whole numbers.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _listed(choices: tuple[Any, ...]) -> str:
    return ", ".join(str(choice) for choice in choices)


def _in_words(kind: Any) -> str:
    words = {float: "number", int: "whole number", bool: "true or false", str: "text"}
    if kind == tuple[str, ...]:
        return "list of texts"
    return words.get(kind, "list of numbers")


def _from_text(key: str, text: str) -> Any:
    kind = _kind(key)
    if kind is bool:
        return {"1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)
    if kind == tuple[str, ...]:
        return [part for part in text.split(",") if part]
    if get_args(kind):
        parts = [numbers.number(part) for part in text.split(",")]
        return text if None in parts else parts
    found = text if kind is str else (numbers.whole if kind is int else numbers.number)(text)
    return text if found is None else found


def _to_toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return "[" + ", ".join(_to_toml(item) for item in value) + "]"
    return str(value)
