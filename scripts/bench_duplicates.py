"""Precision and recall of near duplicates on copies of the sample photos.

Each photo is there as it is, as JPEG at quality 50 and 80, as WebP at 75, at three quarters and
at half the size, and once cropped to nine tenths of each side. All of it goes through imgclust as
a person's folder would. A pair of files is right when both are copies of the same photo and
neither is the crop. With `--scale N` the time and memory of a search in a made-up collection of N
images instead.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SAMPLES = Path(__file__).parent / "samples" / "photos"
COPIES = 6


@dataclass(frozen=True)
class Figures:
    """What a run found.

    Pairs are pairs of files. `precision` is over copies of photos; `with_crops` counts each pair
    with a crop as wrong. `crops` are those found among the duplicates.
    """

    photos: int
    files: int
    pairs: int
    found: int
    right: int
    precision: float
    with_crops: float
    recall: float
    crops: int
    crops_similar: int
    seconds: float


def write_copies(photo: Path, folder: Path) -> None:
    """The photo, five copies of it, and a crop."""
    from PIL import Image

    name = folder / photo.stem
    Path(f"{name}_original.jpg").write_bytes(photo.read_bytes())
    with Image.open(photo) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    picture.save(f"{name}_jpeg50.jpg", quality=50)
    picture.save(f"{name}_jpeg80.jpg", quality=80)
    picture.save(f"{name}_webp75.webp", quality=75)
    for share in (0.75, 0.5):
        small = picture.resize(
            (round(share * width), round(share * height)), Image.Resampling.LANCZOS
        )
        small.save(f"{name}_small{round(100 * share)}.jpg", quality=85)
    left, top = width // 20, height // 20
    picture.crop((left, top, width - left, height - top)).save(f"{name}_crop.jpg", quality=90)


def measure(folder: Path, *, photos: int) -> Figures:
    """Make the copies in `folder`, ingest them with the trunk, ask for duplicates."""
    from imgclust import config
    from imgclust.collection import Collection

    drop = folder / "drop"
    drop.mkdir()
    chosen = sorted(SAMPLES.glob("*.jpg"))[:photos]
    for photo in chosen:
        write_copies(photo, drop)
    effective = config.load(flags={"embedding.weights": "trunk", "watch.settle_s": 0.1})
    with Collection.open(
        folder / "index", effective=effective, create_for=[os.fsencode(drop)]
    ) as collection:
        collection.watch([drop], once=True, cluster=False)
        began = time.perf_counter()
        result = collection.duplicates()
        seconds = time.perf_counter() - began
    found = right = cropped = 0
    crops: set[str] = set()
    for group in result.groups:
        names = [Path(os.fsdecode(image.path)).stem for image in group.images]
        crops.update(name for name in names if name.endswith("_crop"))
        for one, other in itertools.combinations(names, 2):
            found += 1
            same = one.split("_")[0] == other.split("_")[0]
            cropped += bool({one, other} & crops)
            right += same and not {one, other} & crops
    pairs = len(chosen) * COPIES * (COPIES - 1) // 2
    alike = {
        name
        for group in result.similar
        for image in group.images
        if (name := Path(os.fsdecode(image.path)).stem).endswith("_crop")
    }
    return Figures(
        photos=len(chosen),
        files=result.images,
        pairs=pairs,
        found=found,
        right=right,
        precision=right / max(found - cropped, 1),
        with_crops=right / max(found, 1),
        recall=right / pairs,
        crops=len(crops),
        crops_similar=len(alike),
        seconds=seconds,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=245, help="how many of the sample photos")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--scale", type=int, metavar="N", help="images of a made-up collection")
    parser.add_argument("--folder", type=Path, help="keep the made-up collection here")
    chosen = parser.parse_args()
    if chosen.scale:
        import duplicates_at_scale

        with tempfile.TemporaryDirectory() as folder:
            scaled = duplicates_at_scale.measure(chosen.folder or Path(folder), chosen.scale)
        print(json.dumps(asdict(scaled)) if chosen.json else scaled)
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), photos=chosen.photos)
    if chosen.json:
        print(json.dumps(asdict(figures)))
        return
    print(f"{figures.photos} photos, {figures.files} files, {figures.pairs} pairs of copies")
    print(
        f"precision {figures.precision:.4f}, {figures.with_crops:.4f} with crops counted as wrong"
    )
    print(f"recall    {figures.recall:.4f}")
    print(f"crops     {figures.crops} among the duplicates, {figures.crops_similar} as similar")
    print(f"seconds   {figures.seconds:.1f}")


if __name__ == "__main__":
    main()
