"""The network as a graph on disk: TensorFlow's Python is needed once, not at every start.

Everything here is a cache: a graph that is absent, damaged or of another version is made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import imgclust
from imgclust import devices
from imgclust.embedding.precision import AGREEMENT, agreement, pictures, timed, times_as_fast
from imgclust.embedding.recipe import Recipe
from imgclust.embedding.tf_c_api import LibraryEmbedder, tensorflow_version
from imgclust.errors import reason_of
from imgclust.fs import making_folder, read_regular, replacing

_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Verdict:
    """The result of trying an engine on this machine.

    Attributes
    ----------
    precision
        The precision to use, "" when none agrees.
    times
        Its rate by TensorFlow's in float32.
    reason
        One line on why, for people.
    model_sha256
        Digest of the converted model that is kept beside it, "" without one.
    """

    precision: str
    times: float
    reason: str
    model_sha256: str = ""


def folder_of(cache: Path, recipe: Recipe) -> Path:
    """Where the graph of this recipe, TensorFlow and processor is kept."""
    key = "\n".join(
        [
            recipe.name,
            imgclust.__version__,
            tensorflow_version(),
            " ".join(sorted(devices.cpu_flags())),
        ]
    )
    return cache / f"tensorflow-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def read_graph(folder: Path) -> bytes | None:
    """Return the kept graph; None where there is none, or it is not what was written."""
    try:
        content = read_regular(folder / "graph.pb")
    except OSError:
        return None
    graph, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return graph if graph and hashlib.sha256(graph).digest() == digest else None


def keep_graph(folder: Path, make: Callable[[], bytes], say: Callable[[str], None]) -> bytes:
    """Return the kept graph, or make and keep it; `say` is called when it cannot be kept.

    Its SHA-256 follows it in the same file; the folder appears whole or not at all.
    """
    graph = read_graph(folder)
    if graph is not None:
        return graph
    graph = make()
    try:
        with making_folder(folder) as made, replacing(made / "graph.pb") as file:
            file.write(graph)
            file.write(hashlib.sha256(graph).digest())
    except OSError as error:
        say(f"{_not_kept(folder, error)}; every start takes longer")
    return graph


def read_verdict(folder: Path, precisions: Sequence[str]) -> Verdict | None:
    """The result of these precisions; None where they have not been tried.

    float32 alone needs no trial: the others are compared with it.
    """
    if tuple(precisions) == ("float32",):
        return Verdict("float32", 1.0, "float32")
    try:
        return Verdict(**json.loads(read_regular(_verdict(folder, precisions))))
    except (OSError, ValueError, TypeError):
        return None


def try_precisions(
    folder: Path,
    graph: bytes,
    recipe: Recipe,
    precisions: Sequence[str],
    *,
    threads: int,
    say: Callable[[str], None],
) -> Verdict:
    """Compare reduced precisions with float32, both run by the library, and keep the result.

    Raises
    ------
    EmbeddingError
        When the library cannot run the graph.
    """
    known = read_verdict(folder, precisions)
    if known is not None:
        return known
    reference = LibraryEmbedder(graph, recipe, precision="float32", threads=threads)
    reasons: list[str] = []
    found = Verdict("", 0.0, "")
    for precision in precisions:
        if precision == "float32":
            found = Verdict("float32", 1.0, "; ".join([*reasons, "float32"]))
            break
        embedder = LibraryEmbedder(graph, recipe, precision=precision, threads=threads)
        cosine = agreement(embedder.embed, reference.embed, side=recipe.side)
        trial = pictures(recipe.side)
        times = times_as_fast(timed(embedder.embed, trial), timed(reference.embed, trial))
        reason = f"{precision}, cosine {cosine:.5f}, {times:.2f} times float32's rate"
        reasons.append(reason)
        if cosine >= AGREEMENT and (times > 1 or len(precisions) == 1):
            found = Verdict(precision, times, reason)
            break
    if not found.precision:
        found = Verdict("", 0.0, f"does not agree with float32 here ({'; '.join(reasons)})")
    try:
        with replacing(_verdict(folder, precisions), lasting=False) as file:
            file.write(json.dumps(dataclasses.asdict(found)).encode())
    except OSError as error:
        say(f"{_not_kept(folder, error)}; every start tries again")
    return found


def _verdict(folder: Path, precisions: Sequence[str]) -> Path:
    return folder / f"{'+'.join(precisions)}.json"


def _not_kept(folder: Path, error: OSError) -> str:
    return f"nothing can be kept in {folder.parent} ({reason_of(error)})"
