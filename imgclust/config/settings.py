"""The settings by section: frozen types with their defaults, and what each means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from imgclust.fs import SYSTEM_FOLDERS

# Every number fits the libraries that get it: C's int, and a socket's time-out in milliseconds.
_MOST = 2**31 - 1
_MOST_S = 2_000_000.0


def _setting(
    default: Any,
    text: str,
    choices: tuple[Any, ...] = (),
    *,
    least: float = 0,
    most: float = _MOST,
) -> Any:
    bounds = {"least": least, "most": most}
    return field(default=default, metadata={"text": text, "choices": choices, **bounds})


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How files come in."""

    settle_s: float = _setting(1.0, "seconds a file must stay unchanged before it is read")
    rescan_s: float = _setting(300.0, "seconds between two full scans of the watched folders")
    polling: bool = _setting(False, "use no file events, only full scans")
    young_s: float = _setting(30.0, "an unreadable file younger than this is tried again")
    retry_s: tuple[float, ...] = _setting((1.0, 5.0, 25.0), "seconds before each such new try")
    missing_scans: int = _setting(3, "healthy scans without a file until it is gone", least=1)
    hold_share: float = _setting(
        0.2, "keep missing images when more than this share vanishes at once"
    )
    hold_images: int = _setting(10, "... and at least this many images", least=1)
    exclude: tuple[str, ...] = _setting(
        (), "patterns of files and folders to leave out, as in .gitignore, from each watched folder"
    )
    exclude_folders: tuple[str, ...] = _setting(
        SYSTEM_FOLDERS, "names of folders to leave out anywhere, in any letter case"
    )
    hours: str = _setting(
        "", "a watcher reads files in these hours only, such as 22:00-06:00; --once at any time"
    )
    on_event: str = _setting(
        "", "command that gets arrivals, new clusters and quarantined files on standard input"
    )
    on_event_limit_s: float = _setting(
        60.0, "seconds that command may take for one event", least=0.1, most=_MOST_S
    )
    log_file: str = _setting(
        "", "what a watcher writes its log to; auto: log/watch.log in the collection's folder"
    )


@dataclass(frozen=True, kw_only=True)
class Decode:
    """How images are read."""

    workers: int = _setting(0, "worker processes; 0 chooses for this machine", most=1024)
    time_limit_s: float = _setting(60.0, "seconds a worker may spend on one file", most=_MOST_S)
    memory_limit_mb: int = _setting(4096, "address space of one worker, in MiB", least=1)
    size_cap_mb: int = _setting(512, "larger files are not read, in MiB", least=1)
    pixel_cap_mp: int = _setting(250, "larger pictures are not decoded, in megapixels", least=1)
    thumbnails: bool = _setting(True, "keep a small WebP picture of every content")
    thumbnail_px: int = _setting(160, "longest side of that picture, in pixels", least=1)
    preview_px: int = _setting(
        1024, "... of what pages show for HEIC, TIFF and RAW; 0: keep none", most=8192
    )


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Which network, on what."""

    weights: str = _setting("auto", "auto, imagenet, trunk, or the path of a weights file")
    raw: bool = _setting(False, "pooled values as they are: no square root, no unit length")
    device: str = _setting("auto", "where the network runs", ("auto", "cpu", "gpu"))
    engine: str = _setting("auto", "what runs it", ("auto", "tensorflow", "openvino"))
    precision: str = _setting(
        "auto", "arithmetic of the network", ("auto", "float32", "bfloat16", "float16")
    )
    threads: int = _setting(0, "threads of the network on a CPU; 0: one a processor", most=1024)
    batch: int = _setting(0, "most images in one batch; 0: 32, on a GPU 64", most=65536)


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """How images are grouped."""

    k: str = _setting("auto", "number of clusters, or auto")
    space: str = _setting(
        "smoothed", "what k-means runs in", ("smoothed", "pca", "embedding", "tsne")
    )
    pca_dims: int = _setting(64, "dimensions of the space pca", least=1)
    standardise: bool = _setting(False, "StandardScaler before PCA")
    tsne: str = _setting("opentsne", "what makes t-SNE", ("opentsne", "scikit-learn"))
    seed: int = _setting(0, "seed of every random choice")
    k_min: int = _setting(1, "first k of a sweep", least=1)
    k_max: int = _setting(0, "last k of a sweep; 0: 100, above 20,000 images sqrt(n)")
    device: str = _setting("auto", "where k-means runs", ("auto", "cpu", "gpu"))
    first_images: int = _setting(20, "images needed for the first automatic clustering", least=1)
    early_images: int = _setting(1000, "on a long first pass, cluster after so many", least=1)
    early_s: float = _setting(120.0, "... or after this many seconds")
    growth: int = _setting(
        4, "a provisional clustering is renewed at so many times its size", least=2
    )
    recluster_every: str = _setting(
        "off", "a watcher clusters again after so many new images (5000) or so long (12h, 7d)"
    )


@dataclass(frozen=True, kw_only=True)
class Links:
    """The tree of link folders."""

    mode: str = _setting("symlink", "what an entry is", ("symlink", "hardlink", "copy"))
    folder: str = _setting("{id:03d}", "folder of a cluster without a name: {id}, {count}")
    named_folder: str = _setting("{id:03d}-{name}", "folder of a cluster with a name")
    outliers: bool = _setting(False, "images far from their centroid go to the folder outliers")
    order: str = _setting("name", "order of a folder's entries", ("name", "central"))
    page_order: str = _setting("date", "order of the images on the pages", ("date", "name"))
    corrections: bool = _setting(True, "links that people move to other folders are corrections")
    pages: bool = _setting(True, "index.html and pages of thumbnails in the link folder")


@dataclass(frozen=True, kw_only=True)
class Views:
    """Maps of the collection."""

    method: str = _setting("tsne", "projection of the map", ("pca", "tsne"))
    dims: int = _setting(2, "dimensions of the map", (2, 3))
    perplexity: float = _setting(30.0, "effective number of neighbours of t-SNE", least=1)
    thumbnails: int = _setting(200, "most thumbnails on a map")
    elbow: str = _setting("elbow.png", "file name of the elbow picture; {dims}: of the space")


@dataclass(frozen=True, kw_only=True)
class Index:
    """The FAISS index file."""

    device: str = _setting("auto", "where searches run", ("auto", "cpu", "gpu"))
    checkpoint_images: int = _setting(1000, "unsaved changes until the file is written", least=1)
    checkpoint_share: float = _setting(0.05, "... or this share of the index, if larger")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set, by section."""

    watch: Watch = Watch()
    decode: Decode = Decode()
    embedding: Embedding = Embedding()
    clustering: Clustering = Clustering()
    links: Links = Links()
    views: Views = Views()
    index: Index = Index()
