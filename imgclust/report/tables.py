"""The lists of a report, none longer than a person reads: quarantine and duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from imgclust.catalog import Catalog
from imgclust.report import html
from imgclust.wording import counted, day

# Rows of a list, paths of a group, and characters of a path: what bounds the page.
_ROWS = 200
_PATHS = 5
_CHARACTERS = 300


def quarantine_section(catalog: Catalog) -> Iterator[str]:
    """Files that could not be read, with the reasons."""
    rows = catalog.observations.quarantined()
    yield f"<section>\n<h2>Quarantine ({len(rows):,})</h2>\n"
    if not rows:
        yield '<p class="soft">Every image could be read.</p>\n</section>\n'
        return
    if len(rows) > _ROWS:
        reasons = Counter(row.reason for row in rows).most_common(_ROWS)
        several = [(_cut(reason), f"{count:,}") for reason, count in reasons]
        yield _boxed(html.table(["reason", "files"], several, numbers=1))
    listed = ((_cut(row.path), _cut(row.reason), day(row.since)) for row in rows[:_ROWS])
    yield _boxed(html.table(["file", "reason", "since"], listed, numbers=1))
    yield _more(len(rows) - _ROWS, "files", "imgclust quarantine lists all")
    yield "</section>\n"


def duplicates_section(catalog: Catalog) -> Iterator[str]:
    """Images with the same bytes."""
    groups = catalog.listing.copied()
    spare = sum(count - 1 for _, count in groups)
    yield f"<section>\n<h2>Exact duplicates ({len(groups):,})</h2>\n"
    if groups:
        images = "image" if len(groups) == 1 else "different images"
        copies = counted(spare, "spare copy", "spare copies")
        yield f"<p>{copies} of {len(groups):,} {images}.</p>\n"
        listed = ((_paths(catalog, content), f"{count:,}") for content, count in groups[:_ROWS])
        yield _boxed(html.table(["files with the same bytes", "copies"], listed, numbers=1))
        yield _more(len(groups) - _ROWS, "groups", "imgclust duplicates lists all")
    else:
        yield '<p class="soft">No two images have the same bytes.</p>\n'
    yield (
        '<p class="soft">Near duplicates, the same picture at another size or encoding, are found '
        "by imgclust duplicates.</p>\n</section>\n"
    )


def _paths(catalog: Catalog, content: int) -> list[str]:
    images = [one for one in catalog.images.with_content(content) if one.state == "present"]
    lines = [_cut(image.path) for image in images[:_PATHS]]
    if len(images) > _PATHS:
        lines.append(f"and {len(images) - _PATHS:,} more")
    return lines


def _cut(text: str | bytes) -> str:
    """The text, what is too long of it left out in the middle."""
    words = html.shown(text)
    if len(words) <= _CHARACTERS:
        return words
    half = _CHARACTERS // 2
    return f"{words[:half]}…{words[-half:]}"


def _boxed(inner: str) -> str:
    return f'<div class="box">\n{inner}</div>\n'


def _more(count: int, noun: str, where: str) -> str:
    return f'<p class="soft">And {count:,} {noun} more; {where}.</p>\n' if count > 0 else ""
