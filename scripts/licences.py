#!/usr/bin/env python3
"""List the licences of everything that imgclust needs to run, and refuse the GPL.

Walks the installed packages from imgclust's own requirements (of each extra that is installed
but `dev`), and looks into the shared libraries and licence texts that their wheels bundle. LGPL
libraries that are linked at run time, and the GPL with GCC's run-time exception, may be shipped
beside an MIT project; the GPL and the AGPL may not.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement

EXTRAS = ("cpu", "gpu", "openvino", "parquet", "raw", "server", "fonts")

# Shared libraries found in the *.libs folders of wheels, by the start of the file name.
BUNDLED = {
    "libX": "MIT",
    "libaec": "BSD-2-Clause",
    "libaom": "BSD-2-Clause",
    "libavif": "BSD-2-Clause",
    "libbrotli": "MIT",
    "libdav1d": "BSD-2-Clause",
    "libde265": "LGPL-3.0-or-later",
    "libfreetype": "FTL",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libharfbuzz": "MIT",
    "libhdf5": "BSD-3-Clause",
    "libheif": "LGPL-3.0-or-later",
    "libjasper": "JasPer-2.0",
    "libjpeg": "IJG",
    "liblcms2": "MIT",
    "liblzma": "0BSD",
    "libopenblas": "BSD-3-Clause",
    "libopenjp2": "BSD-2-Clause",
    "libpng": "libpng-2.0",
    "libquadmath": "LGPL-2.1-or-later",
    "libscipy_openblas": "BSD-3-Clause",
    "libsharpyuv": "BSD-3-Clause",
    "libsz": "BSD-2-Clause",
    "libtiff": "libtiff",
    "libwebp": "BSD-3-Clause",
    "libx264": "GPL-2.0-or-later",
    "libx265": "GPL-2.0-or-later",
    "libxcb": "MIT",
    "libz": "Zlib",
    "libzstd": "BSD-3-Clause OR GPL-2.0-only",
}

# First words of licence texts, for packages that say it nowhere else.
TEXTS = {
    "MIT License": "MIT",
    "The MIT License": "MIT",
    "BSD 3-Clause": "BSD-3-Clause",
    "Redistribution and use in source and binary forms": "BSD",
    "Apache License": "Apache-2.0",
}


@dataclass(frozen=True)
class Line:
    """One row of the table; `refused` when its licence may not be shipped with."""

    package: str
    part: str
    licence: str
    refused: bool


def refused(licence: str) -> bool:
    """Whether no alternative of a licence expression can be shipped beside an MIT project.

    >>> [refused(one) for one in ("MIT", "LGPL-3.0", "GPL-2.0-only OR BSD-3-Clause")]
    [False, False, False]
    >>> [refused(one) for one in ("AGPL-3.0-only", "MIT AND GPL-2.0", "GNU General Public License")]
    [True, True, True]
    """
    strong = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
    exception = re.compile(r"exception", re.IGNORECASE)
    return all(
        any(strong.search(part) and not exception.search(part) for part in way.split(" AND "))
        for way in licence.split(" OR ")
    )


def needed(name: str, extras: frozenset[str]) -> dict[str, importlib.metadata.Distribution]:
    """Installed packages that `name` with these extras needs, itself included, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [(name, extras)]
    walked: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        package, wanted = waiting.pop()
        if (package, wanted) in walked:
            continue
        walked.add((package, wanted))
        try:
            distribution = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed
        found[distribution.name.lower().replace("_", "-")] = distribution
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in wanted | {""}
            ):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return found


def licence_of(distribution: importlib.metadata.Distribution) -> str:
    """Licence as the package states it, "unknown" when it does not."""
    metadata = distribution.metadata
    stated: str = (metadata.get_all("License-Expression") or [""])[0]
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or []
        if text.startswith("License :: ") and not text.endswith("OSI Approved")
    ]
    if stated or classifiers:
        return stated or " AND ".join(classifiers)
    first: str = (metadata.get_all("License") or [""])[0].strip().partition("\n")[0]
    if first:
        return first
    for _, text in licence_texts(distribution):
        for words, name in TEXTS.items():
            if words in text[:300]:
                return name
    return "unknown"


def licence_texts(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    """File names and texts of the licences in the package's metadata folder."""
    for file in distribution.files or ():
        if ".dist-info" in str(file) and re.search(r"licen[cs]e|copying|notice", str(file), re.I):
            yield file.name, file.read_binary().decode("utf-8", "replace")


def lines(distribution: importlib.metadata.Distribution) -> Iterator[Line]:
    """Rows of one package: itself, its shared libraries, what its licence texts name."""
    name = distribution.name
    licence = licence_of(distribution)
    yield Line(name, "", licence, refused(licence) or licence == "unknown")
    libraries = {file.name for file in distribution.files or () if ".libs/" in str(file)}
    for library in sorted(libraries):
        known = [prefix for prefix in BUNDLED if library.startswith(prefix)]
        licence = BUNDLED[max(known, key=len)] if known else "not in the list of this script"
        yield Line(name, library, licence, refused(licence))
    named = {
        match.strip()
        for _, text in licence_texts(distribution)
        for match in re.findall(r"^(?:SPDX-)?License(?:-Identifier)?: (.+)$", text, re.MULTILINE)
    }
    for licence in sorted(named):
        yield Line(name, "named in its licence texts", licence, refused(licence))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("-v", action="store_true", help="print the table")
    table = parser.parse_args().v
    packages = needed("imgclust", frozenset(EXTRAS))
    rows = [row for name in sorted(packages) for row in lines(packages[name])]
    for row in rows:
        if table or row.refused:
            mark = "REFUSED " if row.refused else ""
            print(f"{row.package:22} {row.part:40} {mark}{row.licence}")
    bad = sum(row.refused for row in rows)
    print(f"{len(packages)} packages, {len(rows) - len(packages)} bundled parts, {bad} refused")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
