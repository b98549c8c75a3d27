"""How documents are written: paths, times, numbers, failures."""

from __future__ import annotations

import base64
import datetime
import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgclust.collection import Facts

Document = dict[str, Any]


def dumps(document: Mapping[str, Any]) -> str:
    """The document on one line; numbers that JSON has no word for become null."""
    return json.dumps(_finite(document), ensure_ascii=False, allow_nan=False)


def error(code: str, message: str) -> Document:
    """A failure."""
    return {"error": {"code": code, "message": message}}


def path_keys(path: bytes | os.PathLike[str]) -> Document:
    """`path`, and `path_bytes` where that loses something."""
    raw = os.fsencode(path)
    return {"path": text(raw), **({"path_bytes": in_base64(raw)} if loses(raw) else {})}


def text(raw: bytes) -> str:
    """Bytes of a path as UTF-8 with U+FFFD."""
    return raw.decode("utf-8", "replace")


def moment(wall: float) -> str:
    """A time in ISO 8601, UTC."""
    return datetime.datetime.fromtimestamp(wall, datetime.UTC).isoformat(timespec="seconds")


def in_base64(raw: bytes) -> str:
    """Bytes of a path, exactly."""
    return base64.b64encode(raw).decode("ascii")


def loses(raw: bytes) -> bool:
    """Whether `text` is not the whole truth about a path."""
    return text(raw).encode("utf-8") != raw


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def facts(found: Facts) -> Document:
    """When and by what an image was taken, and what is damaged about it."""
    return {
        "taken": found.taken,
        "taken_from": found.taken_from,
        "camera": found.camera,
        "damage": found.damage or None,
    }
