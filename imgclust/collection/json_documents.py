"""The JSON document of each result; keys may be added, never changed or removed.

`document` turns a frozen result into plain dicts, lists, strings and numbers. `_KEYS` says where a
document differs from the fields of its class. What a value becomes depends on its type and key:

- `path` is text, with `path_bytes` (base64) beside it where text would lose something; a list in
  `_FILES` is one of such documents;
- other paths are text, and those in bytes have `KEY_bytes` at the end of the document if needed;
- a time is ISO 8601 in UTC, a duration is rounded to milliseconds.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import math
import os
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

Document = dict[str, Any]

# Keys in their order: `key`, `key=attribute` or `key=attribute.attribute`; `*attribute`: all keys
# of that attribute. A class that is not here has its fields.
_KEYS = {
    "Advisory": "name ok message=sentence",
    "Backup": "collection=manifest.collection path bytes sha256 replaced *manifest",
    "Check": "name ok message=sentence repaired",
    "ClusterDetails": "*row representatives nearest images=members sheet",
    "ClusterLife": "id name alive life=events",
    "ClusterResult": "clustering k chosen_by space inertia sizes kept split merged new gone moved "
    "returned frozen continued sentence notes corrections corrected",
    "ClusterRow": "id name size coherence medoid outliers arrivals=drift.arrivals "
    "drift=drift.ratio drift_high=drift.high frozen "
    "folder medoid_path",
    "CollectionPlace": "collection=name path",
    "CollectionRow": "name images distinct bytes=size_bytes roots watching trouble",
    "CurrentClustering": "id k space inertia created provisional",
    "Deleted": "collection=name path links kept",
    "Dismissed": "images dismissed",
    "DoctorResult": "ok checks advisories",
    "Drifting": "arrivals=overall.arrivals ratio=overall.ratio high=overall.high clusters=high "
    "suggestion",
    "Duplicate": "id path score width height bytes hard_links relation similarity rarity",
    "Event": "event=kind time path id=image cluster cluster_name message=sentence",
    "ExportResult": "format path images of embeddings map",
    "FeedEvent": "id event=kind time image cluster message",
    "ImageDetails": "id path missing *facts added width height format bytes sha256 cluster name "
    "distance copies",
    "IngestResult": "seen ingested reused unchanged skipped quarantined missing seconds held "
    "offline suggestions removed pending excluded taken_out still_quarantined",
    "LinksResult": "links created removed missing stale foreign moved dangling corrected waiting "
    "unread",
    "Manifest": "made schema images distinct clusters names",
    "MapResult": "chart=path method dims n placed refitted page missing corrected",
    "Member": "id path distance missing *facts similarity rarity corrected",
    "MissingImage": "id path scans held *facts",
    "MovedRoot": "old new images compared absent doubled already dry_run",
    "Neighbour": "id path score cluster name missing *facts copies similarity rarity",
    "Paused": "paused since pending watching changed",
    "PastClustering": "id generation previous published current undone provisional k chosen_by "
    "space inertia moved *lineage words",
    "QueryResult": "query neighbours queries sheet order lacking",
    "RecentChange": "event=kind time image path cluster name message count",
    "ReembedResult": "from=before to=after distinct=contents embedded waiting clusters kept "
    "seconds dry_run",
    "ReportResult": "report=path bytes clusters",
    "Restored": "collection=name path links=link_folder links_moved absent dry_run *manifest",
    "SettingRow": "key value default from=origin",
    "Status": "collection recipe images distinct quarantined skipped pending missing "
    "held=held_images clusters clustering unassigned roots links watching drift removed offline "
    "damaged corrections paused=pause.since hours=pause.hours outside_hours=pause.outside_hours "
    "unreadable suggestions",
    "StoredJob": "id command arguments state begun ended result=document",
    "SweepResult": "space n k inertia knee chart *criteria preferred seconds complete",
    "Thresholds": "near similar",
}
# Attributes that are not written as their type says.
_DERIVED: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("ClusterRow", "folder"): lambda row: None if row.folder is None else os.fsencode(row.folder),
    ("CollectionList", "index"): lambda result: result.index.path,
    ("Dismissed", "dismissed"): lambda result: not result.undone,
    ("Duplicate", "score"): lambda result: round(result.score, 6),
    ("DuplicateGroup", "reason"): lambda result: result.reason or None,
    ("EffectiveSettings", "index"): lambda result: result.index.path,
    ("Facts", "damage"): lambda result: result.damage or None,
    ("LinksResult", "foreign"): lambda result: len(result.foreign),
    ("QueryResult", "query"): lambda result: text(os.fsencode(result.query)),
    ("QueryResult", "queries"): lambda result: [text(os.fsencode(one)) for one in result.queries],
    ("RootRow", "device"): lambda result: _device(result.device),
    ("Status", "links"): lambda result: {
        "mode": result.link_mode,
        **path_keys(result.link_folder),
        **({"offline": result.links_offline} if result.links_offline else {}),
    },
}
# Lists of tuples become lists of documents, with these keys.
_TUPLES = {
    "nearest": ("id", "distance"),
    "held": ("path", "reason"),
    "offline": ("path", "images"),
    "unreadable": ("path", "reason"),
    "copies": ("id", "path"),
}
_FILES = {"kept", "hard_links"}
_TIMES = {"made", "published", "created", "since", "scanned", "time", "added", "begun", "ended"}
_TIMES |= {"paused"}
# Rows that are written in short under this key.
_SHORT = {("MissingImage", "accepted"): "id path"}
# Lists whose first row's keys are repeated outside them.
_FIRST = {"removed"}


def document(result: Any, *, rows: str = "", **added: Any) -> Document:
    """A frozen result as a document.

    Parameters
    ----------
    rows
        `result` is a sequence of results, and the document is `{rows: [...]}`.
    added
        Values that are not in the result, such as the time.
    """
    if rows:
        listed = [
            _written(one, _SHORT.get((type(one).__name__, rows)) or _keys_of(one), {})
            for one in result
        ]
        return (listed[0] if rows in _FIRST else {}) | {rows: listed}
    return _written(result, _keys_of(result), added)


def error_document(code: str, message: str) -> Document:
    """A failure, its message on one line."""
    return {"error": {"code": code, "message": " ".join(message.split())}}


def keys_of(kind: type) -> list[str]:
    """The keys that every document of this class of results has."""
    own = " ".join(field.name for field in dataclasses.fields(kind))
    keys = _KEYS.get(kind.__name__, own).split()
    return [key.partition("=")[0] for key in keys if not key.startswith("*")]


def dumps(written: Mapping[str, Any]) -> str:
    """A document on one line; numbers that JSON has no word for become null."""
    return json.dumps(_finite(written), ensure_ascii=False, allow_nan=False)


def path_keys(path: bytes | os.PathLike[str] | None) -> Document:
    """`path`, and `path_bytes` where that loses something."""
    if path is None:
        return {"path": None}
    raw = os.fsencode(path)
    return {"path": text(raw)} | _exact("path", raw)


def text(raw: bytes) -> str:
    """Bytes of a path as UTF-8 with U+FFFD."""
    return raw.decode("utf-8", "replace")


def _keys_of(result: Any) -> str:
    return _KEYS.get(type(result).__name__) or " ".join(keys_of(type(result)))


def _written(result: Any, keys: str, added: Mapping[str, Any]) -> Document:
    kind = type(result).__name__
    written: Document = {}
    exact: Document = {}
    for item in keys.split():
        key, _, attribute = item.partition("=")
        if key.startswith("*"):
            written |= _value("", getattr(result, key[1:]))
            continue
        if key in added:
            value = added[key]
        elif (kind, key) in _DERIVED:
            value = _DERIVED[kind, key](result)
        else:
            value = attrgetter(attribute or key)(result)
        if key == "path":
            written |= path_keys(value)
        else:
            written[key] = _value(key, value)
            exact |= _exact(key, value)
    return written | exact


def _value(key: str, value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return document(value)
    if isinstance(value, bytes | os.PathLike):
        return text(os.fsencode(value))
    if isinstance(value, float) and key in _TIMES:
        moment = datetime.datetime.fromtimestamp(value, datetime.UTC)
        return moment.isoformat(timespec="seconds")
    if isinstance(value, float) and key == "seconds":
        return round(value, 3)
    if isinstance(value, Mapping):
        return {str(name): _value("", one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_element(key, one) for one in value]
    return value


def _device(number: int | None) -> str | None:
    return None if number is None else f"{os.major(number)}:{os.minor(number)}"


def _element(key: str, value: Any) -> Any:
    if key in _FILES and isinstance(value, bytes):
        return path_keys(value)
    if key in _TUPLES and isinstance(value, tuple):
        pairs = zip(_TUPLES[key], value, strict=True)
        parts = (path_keys(one) if name == "path" else {name: one} for name, one in pairs)
        return {name: one for part in parts for name, one in part.items()}
    return _value("", value)


def _exact(key: str, value: Any) -> Document:
    """`KEY_bytes` for a path in bytes, or a list of them, where text would lose something."""
    several = isinstance(value, tuple) and key not in _FILES
    raws = [one for one in (value if several else (value,)) if isinstance(one, bytes)]
    if all(text(raw).encode("utf-8") == raw for raw in raws):
        return {}
    encoded = [base64.b64encode(raw).decode("ascii") for raw in raws]
    return {f"{key}_bytes": encoded if several else encoded[0]}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
