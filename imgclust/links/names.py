"""Names of cluster folders and of the entries in them, as bytes, at most 255 each."""

from __future__ import annotations

import itertools
import os
import string
import unicodedata
from collections.abc import Callable, Iterator

from imgclust.config import check_template

_LIMIT = 255
# Some file systems stop earlier (eCryptfs: 143 bytes), so a plain name stays well below.
_PLAIN_LIMIT = 120
_LONGEST_SUFFIX = 32
# What Windows and the FAT family refuse in a name, and what nobody wants in one.
_REFUSED = frozenset('/\\<>:"|?*')
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
)


def _plain(text: str) -> str:
    return "".join(
        "_" if c in _REFUSED or unicodedata.category(c) in _REFUSED_CATEGORIES else c
        for c in unicodedata.normalize("NFC", text)
    )


def cut(name: bytes, limit: int) -> bytes:
    """Shorten `name` to `limit` bytes without cutting a UTF-8 character in two."""
    if len(name) <= limit:
        return name
    end = limit
    while end > max(0, limit - 3) and 0x80 <= name[end] < 0xC0:
        end -= 1
    return name[:end]


def folder_name(template: str, *, id: int, name: str | None, count: int) -> bytes:
    """Name the folder of a cluster.

    Parameters
    ----------
    template
        With the fields `{id}` (required), `{name}` and `{count}`, each with a format if wanted:
        `{id:03d}`, `{id}_{count}`. Without `{name}`, a cluster that has a name gets `-{name}`
        at the end.
    id, name, count
        The cluster's id, its name if it has one, and how many images it holds.

    Returns
    -------
    bytes
        One path component of at most 255 bytes: no separator, control character, leading dot or
        dash, trailing dot or space, and no device name of Windows. A name that is too long is
        cut, not the id.

    Raises
    ------
    UsageError
        When the template cannot be read, lacks `{id}`, or has a field that is not there.
    """
    check_template(template)
    if name and all(field != "name" for _, field, _, _ in string.Formatter().parse(template)):
        template += "-{name}"

    def render(shown: str) -> str:
        text = template.format(id=id, name=shown, count=count)
        return _plain(text).lstrip(".- ").rstrip(". " if shown else ".-_ ")

    room = max(0, _LIMIT - len(render("").encode()) - 1)
    shown = cut(_plain(name or "").strip(". ").encode(), room).decode()
    text = render(shown)
    if text.split(".")[0].lower() in _DEVICES:
        text += "_"
    # The format of a field can still make it longer than any name may be.
    return cut(text.encode(), _LIMIT).rstrip(b". ") or b"%d" % id


def entry_names(name: bytes, image: int) -> Iterator[bytes]:
    """The names that the link of `image` may have, best first: `a.jpg`, `a~7.jpg`, `a~7-2.jpg`."""
    stem, suffix = os.path.splitext(name)
    if len(suffix) > _LONGEST_SUFFIX:
        stem, suffix = name, b""
    yield cut(name, _LIMIT)
    for n in itertools.count(1):
        mark = b"~%d" % image if n == 1 else b"~%d-%d" % (image, n)
        yield cut(stem, _LIMIT - len(mark) - len(suffix)) + mark + suffix


def plain_name(name: bytes) -> bytes:
    """What to call an entry where the file system refuses its name (FAT: `12:30.png`)."""
    stem, suffix = os.path.splitext(_plain(name.decode(errors="replace")).rstrip(". "))
    ending = suffix.encode()
    if len(ending) > _LONGEST_SUFFIX:
        ending = b""
    return cut(stem.encode(), _PLAIN_LIMIT - len(ending)) + ending or b"image"


def entry_name(name: bytes, image: int, taken: Callable[[bytes], bool]) -> bytes:
    """Name the link of an image: its base name where that is free.

    Parameters
    ----------
    name
        The original's base name; any legal Linux name, so not always UTF-8.
    image
        Id of the image; makes the name unique where it must be, and the same each time.
    taken
        Says whether a name is in use in the folder. Asking the disk makes names that differ only
        in case right where the file system folds case.

    Returns
    -------
    bytes
        `name`, else `stem~<image>.suffix`, else the same with a number; at most 255 bytes.
    """
    return next(candidate for candidate in entry_names(name, image) if not taken(candidate))


def is_name_of(entry: bytes, name: bytes, image: int) -> bool:
    """Whether `entry` is one of the names that the link of `image`, called `name`, may have."""
    if entry == name:
        return True
    return any(
        entry in itertools.islice(entry_names(base, image), 64) for base in (name, plain_name(name))
    )
