"""InceptionV3 by OpenVINO: the graph that TensorFlow traced, converted once and kept.

OpenVINO has been seen to end a process by SIGFPE on some processors, so the first conversion,
compilation and run on a machine happen in a child process (`python -m
imgclust.embedding.openvino`). The result is kept beside the converted model, in one
folder that appears whole or not at all; later starts need neither TensorFlow nor the child.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import imgclust
from imgclust import devices
from imgclust.embedding.graph_cache import (
    AGREEMENT,
    Embed,
    Verdict,
    least_cosine,
    pictures,
    timed,
    times_as_fast,
)
from imgclust.embedding.recipe import CPU_SHAPES, Recipe, check_embeddings, check_pixels, in_batches
from imgclust.errors import EmbeddingError, MissingPackageError, StorageError, reason_of
from imgclust.fs import making_folder, open_to_read, read_regular, require_regular

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_PROBE_TIMEOUT_S = 300.0


def installed() -> bool:
    """Whether the extra `openvino` is there."""
    return importlib.util.find_spec("openvino") is not None


def _version() -> str:
    import importlib.metadata  # slow to load

    return importlib.metadata.version("openvino")


def require() -> None:
    """Raise `MissingPackageError` when the extra is not there."""
    if not installed():
        raise MissingPackageError(
            'openvino is not installed; pip install "imgclust[openvino]", '
            "or use engine = tensorflow"
        )


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry: nothing about a machine leaves it."""
    if "openvino" not in sys.modules:
        absent = "openvino_telemetry" not in sys.modules
        if absent:
            # None makes its import fail (documented for sys.modules; the stub knows modules only).
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            if absent:
                del sys.modules["openvino_telemetry"]
    import openvino

    return openvino


class OpenVINOEmbedder:
    """Embeds by OpenVINO on the CPU; an `Embedder`.

    Parameters
    ----------
    model
        The converted model, an .xml file.
    precision
        "float32" or "bfloat16".
    threads
        How many threads one operation is divided among.
    """

    def __init__(self, model: Path, recipe: Recipe, *, precision: str, threads: int) -> None:
        openvino = import_openvino()
        core = openvino.Core()
        self.recipe = recipe
        self.provenance = f"openvino {_version()} cpu {precision}"
        self._model = core.compile_model(
            core.read_model(model),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
            },
        )

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pixels; see `Embedder.embed`."""
        check_pixels(pixels, self.recipe)
        found = in_batches(self._run, pixels, CPU_SHAPES, self.recipe.dimensions)
        return check_embeddings(found, self.recipe)

    def _run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._model(batch)[0]
        return found


def folder_of(cache: Path, recipe: Recipe, precisions: Sequence[str]) -> Path:
    """Where model and verdict of this recipe, version and processor are kept."""
    key = "\n".join(
        [
            recipe.name,
            imgclust.__version__,
            _version(),
            " ".join(precisions),
            " ".join(sorted(devices.cpu_flags())),
        ]
    )
    return cache / f"openvino-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def read_verdict(folder: Path) -> Verdict | None:
    """Return the kept verdict; None where there is none or the model beside it is damaged."""
    try:
        verdict = Verdict(**json.loads(read_regular(folder / "verdict.json")))
        require_regular(folder / "model.xml")
        if verdict.precision and _sha256(folder / "model.bin") != verdict.model_sha256:
            return None
    except (OSError, ValueError, TypeError):
        return None
    return verdict


def probe(
    folder: Path,
    *,
    graph: bytes,
    reference: Embed,
    recipe: Recipe,
    precisions: Sequence[str],
    threads: int,
    command: Sequence[str] = (sys.executable, "-m", "imgclust.embedding.openvino"),
) -> Verdict:
    """Convert and try the graph in a child process; keep the result of it in `folder`.

    Parameters
    ----------
    graph
        The frozen graph, as `frozen_graph` gives it.
    reference
        Embeds in float32 by TensorFlow: what has to be agreed with, and to be as fast as.
    precisions
        To be tried in this order.

    Raises
    ------
    StorageError
        When the cache folder cannot be written.
    """
    try:
        with making_folder(folder) as made:
            (made / "graph.pb").write_bytes(graph)
            verdict = _try(made, reference, recipe, precisions, threads, command)
            for name in os.listdir(made):
                if name not in {"model.xml", "model.bin"} or not verdict.precision:
                    (made / name).unlink()
            text = json.dumps(dataclasses.asdict(verdict))
            (made / "verdict.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"the converted network cannot be kept in {folder.parent}: {reason_of(error)}"
        ) from error
    return verdict


def _try(
    made: Path,
    reference: Embed,
    recipe: Recipe,
    precisions: Sequence[str],
    threads: int,
    command: Sequence[str],
) -> Verdict:
    receiving, sending = os.pipe()
    with contextlib.ExitStack() as stack:
        answers = stack.enter_context(os.fdopen(receiving, "rb"))
        with os.fdopen(sending, "wb"), (made / "errors.txt").open("wb") as errors:
            child = stack.enter_context(
                subprocess.Popen(
                    [*command, str(sending), str(made), recipe.name, str(threads), *precisions],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,  # a library may print there
                    stderr=errors,
                    pass_fds=[sending],
                    bufsize=0,
                )
            )
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(_PROBE_TIMEOUT_S, end)
        timer.start()
        try:
            return _compared(child.stdin, answers, made, reference, recipe, precisions)
        except _ChildEndedError:
            code = child.wait()
            if late.is_set():
                return Verdict("", 0.0, f"OpenVINO took more than {_PROBE_TIMEOUT_S:g} s to try")
        finally:
            timer.cancel()
            child.kill()
    last = (made / "errors.txt").read_text("utf-8", "replace").strip().rpartition("\n")[2]
    return Verdict("", 0.0, f"OpenVINO failed in a trial ({code}): {last[:200]}")


class _ChildEndedError(Exception):
    """The child gave no answer."""


def _compared(
    asked: IO[bytes] | None,
    answers: IO[bytes],
    made: Path,
    reference: Embed,
    recipe: Recipe,
    precisions: Sequence[str],
) -> Verdict:
    """Compare what the child embeds, and how fast, with the reference, one run of each in turn."""
    assert asked is not None

    def answer() -> bytes:
        line = answers.readline()
        if not line:
            raise _ChildEndedError
        return line

    def run() -> float:
        try:
            asked.write(f"{precision}\n".encode())
        except BrokenPipeError:
            raise _ChildEndedError from None
        return float(answer())

    answer()  # it is ready
    trial = pictures(recipe.side)
    expected = reference(trial)
    reasons = []
    with np.load(made / "trial.npz") as found:
        for precision in precisions:
            cosine = least_cosine(found[precision], expected)
            times = times_as_fast(run, timed(reference, trial))
            reason = (
                f"{precision}, cosine {cosine:.5f}, {times:.2f} times TensorFlow's rate in float32"
            )
            if cosine >= AGREEMENT:
                return Verdict(precision, times, reason, _sha256(made / "model.bin"))
            reasons.append(reason)
    return Verdict("", 0.0, f"OpenVINO does not agree here: {'; '.join(reasons)}")


def _sha256(path: Path) -> str:
    with open_to_read(path) as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def open_kept(folder: Path, recipe: Recipe, verdict: Verdict, *, threads: int) -> OpenVINOEmbedder:
    """Open the model that a probe has kept.

    Raises
    ------
    EmbeddingError
        When OpenVINO refuses it after all.
    """
    try:
        return OpenVINOEmbedder(
            folder / "model.xml", recipe, precision=verdict.precision, threads=threads
        )
    except RuntimeError as error:
        first = str(error).partition("\n")[0]
        raise EmbeddingError(
            f"OpenVINO cannot open {folder}: {first}; remove that folder"
        ) from error


def main(answers: int, folder: Path, name: str, threads: int, precisions: list[str]) -> None:
    """What the child process does: convert, then embed the trial pictures in each precision.

    Parameters
    ----------
    answers
        The file descriptor that answers go to (a library may print on standard output).
    folder
        Holds graph.pb. Left there are the converted model, and trial.npz with the embeddings of
        the trial pictures in each precision. Then a line is written, and for each precision that
        is read the pictures are embedded again and the seconds written, until the input ends.
    name
        The recipe's.
    """
    openvino = import_openvino()
    recipe = Recipe.parse(name)
    # the frozen graph is read directly: `convert_model` would be the one place with telemetry
    model = openvino.Core().read_model(folder / "graph.pb")
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    trial = pictures(recipe.side)
    embedders = {
        precision: OpenVINOEmbedder(
            folder / "model.xml", recipe, precision=precision, threads=threads
        )
        for precision in precisions
    }
    found: dict[str, Any] = {word: one.embed(trial) for word, one in embedders.items()}
    np.savez(folder / "trial.npz", **found)
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        seconds = timed(embedders[line.strip()].embed, trial)()
        os.write(answers, f"{seconds}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:])
