"""XMP sidecars with the names of clusters, which photo managers read as keywords.

A sidecar has the name of its image and `.xmp` (`beach.jpg.xmp`). Its last line holds a digest of
the rest: what has been changed since, or was written by others, is not ours and stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from imgclust.export.rows import Rows
from imgclust.fs import read_regular, replacing
from imgclust.wording import counted, printable

SUFFIX = b".xmp"

# Ours are some hundred bytes; larger files are those of others, and not read to their end.
_MOST_BYTES = 64 << 10
_MARK = re.compile(rb"(?s)(.*)<!-- imgclust ([0-9a-f]{64}) -->\n")
# What XML 1.0 cannot say, and lone surrogates.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
}


@dataclass(frozen=True)
class Sidecars:
    """What happened to the sidecars.

    Attributes
    ----------
    written
        Images that have one with the name of their cluster now.
    unnamed, missing
        Images whose cluster has no name, whose file is not there: without one.
    removed
        Sidecars of ours that named a cluster that the image has left.
    foreign
        Images with a sidecar that is not ours, left alone, whether they would have one or not.
    failed
        Images whose sidecar could not be written; `reason` says why the first could not.
    """

    written: int = 0
    unnamed: int = 0
    missing: int = 0
    removed: int = 0
    foreign: int = 0
    failed: int = 0
    reason: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people."""
        said = []
        if self.unnamed:
            said.append(
                f"{counted(self.unnamed, 'image')} without: their clusters have no name "
                "(imgclust clusters name gives one)"
            )
        if self.missing:
            said.append(f"{counted(self.missing, 'image')} without: their files are missing")
        if self.foreign:
            said.append(
                f"{counted(self.foreign, 'sidecar')} not ours, or changed since: left alone"
            )
        if self.removed:
            said.append(f"{counted(self.removed, 'sidecar')} of ours removed: no name any more")
        return tuple(said)


def sidecar(name: str) -> bytes:
    """A sidecar that has the name of a cluster as a keyword, flat and below "imgclust"."""
    for prefix, space in _SPACES.items():
        ElementTree.register_namespace(prefix, space)
    clean = _NO_XML.sub("\ufffd", name)
    top = ElementTree.Element(_tag("x:xmpmeta"), {_tag("x:xmptk"): "imgclust"})
    graph = ElementTree.SubElement(top, _tag("rdf:RDF"))
    about = ElementTree.SubElement(graph, _tag("rdf:Description"), {_tag("rdf:about"): ""})
    # "|" divides the levels of a hierarchical keyword.
    for element, value in (
        ("dc:subject", clean),
        ("lr:hierarchicalSubject", f"imgclust|{clean.replace('|', '/')}"),
    ):
        bag = ElementTree.SubElement(ElementTree.SubElement(about, _tag(element)), _tag("rdf:Bag"))
        ElementTree.SubElement(bag, _tag("rdf:li")).text = value
    ElementTree.indent(top, " ")
    written = ElementTree.tostring(top, "unicode")
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{written}\n'.encode()
    return body + f"<!-- imgclust {hashlib.sha256(body).hexdigest()} -->\n".encode()


def is_ours(content: bytes) -> bool:
    """True for a sidecar that is as we wrote it."""
    found = _MARK.fullmatch(content)
    return found is not None and hashlib.sha256(found[1]).hexdigest().encode() == found[2]


def write_sidecars(rows: Rows, place: Callable[[bytes], bytes], *, make_folders: bool) -> Sidecars:
    """Write the sidecars of all rows, remove those of ours that name nothing any more.

    Parameters
    ----------
    place
        The path of an image's sidecar.
    make_folders
        Make the folders that it lies in; else they are those of the images.
    """
    counts = dict.fromkeys(("written", "unnamed", "missing", "removed", "foreign", "failed"), 0)
    reason = ""
    for page in rows.pages(embeddings=False):
        for image in page:
            name = None if image.cluster is None else rows.names.get(image.cluster)
            try:
                words = _put(place(image.path), name, missing=image.missing, make=make_folders)
            except OSError as error:
                words = ("failed",)
                reason = reason or f"{printable(place(image.path))}: {error.strerror}"
            for word in words:
                counts[word] += 1
    return Sidecars(**counts, reason=reason)


def _put(path: bytes, name: str | None, *, missing: bool, make: bool) -> tuple[str, ...]:
    """Bring one sidecar up to date; returns under which words it is counted."""
    there = _content(path)
    foreign = ("foreign",) if there is not None and not is_ours(there) else ()
    if missing:
        return ("missing", *foreign)
    if name is None:
        if there is None or foreign:
            return ("unnamed", *foreign)
        os.unlink(path)
        return "unnamed", "removed"
    if foreign:
        return foreign
    wanted = sidecar(name)
    if there != wanted:
        if make:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        with replacing(Path(os.fsdecode(path)), lasting=False) as file:
            file.write(wanted)
    return ("written",)


def _content(path: bytes) -> bytes | None:
    """What is there: None for nothing, and what cannot be ours for everything but a small file."""
    if not os.path.lexists(path):
        return None
    if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > _MOST_BYTES:
        return b""
    return read_regular(path)


def _tag(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{_SPACES[prefix]}}}{local}"
