"""The pictures that Pillow is tested with, through a whole ingest: odd, broken, hostile ones."""

from __future__ import annotations

import os
import sys
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from imgclust.images.filestat import suffix_of
from imgclust.images.headers import recognise
from tests.conftest import Open, inside

pytestmark = pytest.mark.slow

# What libvips makes a picture of, and imgclust does not, and why.
REASONS = {
    "broken_data_stream.png": "damaged or cut short PNG",  # libvips fills up what is lost
    "truncated_image.png": "the PNG file is cut short",
    "truncated_jpeg.jpg": "the JPEG file is cut short",
    "ultrahdr.jpg": "the JPEG file is cut short",
    "hopper_unknown_pixel_mode.tif": "not supported",
    "hopper_webp.tif": "not supported",
    "tiff_overflow_rows_per_strip.tif": "damaged or cut short TIFF",
    "tiff_tiled_jpeg_oob_read.tif": "damaged or cut short TIFF",
}


def source() -> Path | None:
    """Pillow's source distribution, which `scripts/test --full` downloads."""
    folder = os.environ.get("PILLOW_SOURCE") or Path(sys.prefix) / "samples"
    return next(iter(sorted(Path(folder).glob("pillow-*.tar.gz"))), None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    archive = source()
    if archive is None:
        pytest.skip("Pillow's source is not there; scripts/test --full downloads it")
    folder = tmp_path / "drop"
    with tarfile.open(archive) as files:
        for member in files:
            _, found, name = member.name.partition("/Tests/images/")
            stream = files.extractfile(member) if found and member.isfile() else None
            if stream is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(stream.read())
    return folder


def every(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def pillow_reads(path: Path) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.load()
    except Exception:
        return False
    return True


def vips_reads(path: Path) -> bool:
    pyvips = pytest.importorskip("pyvips")
    try:
        pyvips.Image.new_from_file(str(path)).numpy()
    except pyvips.Error:
        return False
    return True


def test_every_file_is_counted_once_and_what_others_read_is_in(
    images: Path, open_collection: Open
) -> None:
    collection = open_collection(flags={"decode.workers": 2})
    result = collection.watch([images], once=True, cluster=False)
    files = list(every(images))
    assert len(files) > 1000
    assert result.seen == len([path for path in files if not path.name.startswith(".")])
    counted = result.ingested + result.reused + result.skipped + result.quarantined
    assert (counted, result.pending) == (result.seen, 0)
    refused = {os.fsdecode(row.path): row.reason for row in collection.quarantine()}
    assert len(refused) == result.quarantined
    kept = {os.fsdecode(image.path) for image in inside(collection).catalog.images.all()}
    for path in files:
        kind = recognise(path.read_bytes()[:1024], suffix_of(os.fsencode(path)))
        if str(path) in kept or kind is None:
            continue
        reason = refused[str(path)]
        assert not pillow_reads(path), f"{path.name}: {reason}"
        if path.name in REASONS:
            assert REASONS[path.name] in reason
        elif "too many pixels" not in reason:
            assert not vips_reads(path), f"{path.name}: {reason}"
