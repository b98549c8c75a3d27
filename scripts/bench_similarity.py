"""The order of similar images: by the raw cosine, and by the cosine after half whitening.

scripts/bench similarity photos digits NAME=FOLDER[,depth=N][,least=N][,most=N] ...

For each set the share of the ten most similar other pictures that are of the same category
(precision at 10), that of the first (kNN@1), and how often a changed copy of a picture (the
middle 83 % of each side, a third brighter, JPEG at quality 70) finds that picture first. Both
orders look at the same 200 pictures with the highest cosine. Embeddings are kept in --cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from replay_sets import embedded, load, pictures_of

from imgclust.clustering.burst_groups import burst_rule, group_bursts
from imgclust.projection.half_white import fit_similarity

Array = npt.NDArray[Any]

_LOOKED_AT = 200
_SHOWN = 10
_CROP = 0.83
_BRIGHTER = 1.33
_QUALITY = 70


def changed(picture: Path | bytes) -> bytes:
    """A changed copy of a picture, as a JPEG file."""
    from PIL import Image, ImageEnhance

    with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
        image = opened.convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    x, y = (round(side * (1 - _CROP) / 2) for side in image.size)
    part = ground.convert("RGB").crop((x, y, image.width - x, image.height - y))
    copy = io.BytesIO()
    ImageEnhance.Brightness(part).enhance(_BRIGHTER).save(copy, "JPEG", quality=_QUALITY)
    return copy.getvalue()


def unit(rows: Array) -> Array:
    """Rows at unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


class Orders:
    """The rows of a set in two orders."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows
        different = np.unique(group_bursts(rows, bounds=burst_rule(rows).bounds(rows)))
        self.similarity = fit_similarity(rows[different])

    def of(self, query: Array, but: int | None = None) -> tuple[Array, Array]:
        """Rows by raw cosine, and the first 200 of them by similarity."""
        scores = self._rows @ query
        order = np.argsort(-scores, kind="stable")
        order = order[order != but][:_LOOKED_AT]
        likeness = self.similarity.similarities(query[np.newaxis], self._rows[order])
        return order, order[np.lexsort((-scores[order], -likeness))]


def measured(rows: Array, labels: Array, copies: Array) -> dict[str, dict[str, float]]:
    """Precision at 10, kNN@1 and changed copies found first, by the two orders."""
    orders = Orders(rows)
    near, first, found = (np.zeros((2, len(rows))) for _ in range(3))
    for row, (vector, copy) in enumerate(zip(rows, copies, strict=True)):
        for number, order in enumerate(orders.of(vector, but=row)):
            same = labels[order] == labels[row]
            near[number, row], first[number, row] = same[:_SHOWN].mean(), same[0]
        for number, order in enumerate(orders.of(copy)):
            found[number, row] = order[0] == row
    return {
        name: {
            "precision": float(near[number].mean()),
            "knn": float(first[number].mean()),
            "copy": float(found[number].mean()),
        }
        for number, name in enumerate(("raw cosine", "similarity"))
    }


def copies_of(spec: str, cache: Path, count: int) -> Array:
    """Embeddings of a changed copy of each picture of a set, in its order."""
    file = cache / f"{spec.partition('=')[0]}-changed.npy"
    if not file.exists():
        vectors = embedded(pictures_of(spec), change=changed)[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, vectors)
    found: Array = np.load(file)
    if len(found) != count:
        raise SystemExit(f"{file} holds {len(found)} copies of {count} pictures; delete it")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sets", nargs="*", default=["photos", "digits"], help="see above")
    parser.add_argument("--cache", type=Path, default=Path("replay-cache"), help="for embeddings")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    chosen = parser.parse_args()
    figures = {}
    print(
        f"{'set':34} {'order':12} {'precision at 10':>15} {'kNN@1':>6} {'changed copy first':>18}"
    )
    for spec in chosen.sets:
        found = load(spec, chosen.cache)
        copies = copies_of(spec, chosen.cache, len(found.vectors))
        figures[found.name] = measured(unit(found.vectors), found.labels, unit(copies))
        title = f"{found.name}: {len(found.vectors):,} in {found.k} categories"
        for name, row in figures[found.name].items():
            numbers = f"{row['precision']:15.3f} {row['knn']:6.3f} {row['copy']:18.3f}"
            print(f"{title:34} {name:12} {numbers}")
    if chosen.out:
        chosen.out.write_text(json.dumps(figures, indent=2) + os.linesep, "utf-8")


if __name__ == "__main__":
    main()
