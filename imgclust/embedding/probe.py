"""The child process that tries OpenVINO: `python -m imgclust.embedding.probe`.

Arguments: a folder that holds graph.pb, the recipe's name, the number of threads, and
precisions. Leaves there the converted model, and trial.npz with the embeddings of the trial
pictures in each precision. Then it writes a line, and for each precision that it reads embeds
the pictures once more and writes the seconds, until its input ends.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from imgclust.embedding.openvino import OpenVINOEmbedder, import_openvino
from imgclust.embedding.precision import pictures, timed
from imgclust.embedding.recipe import Recipe


def main(folder: Path, name: str, threads: int, precisions: list[str]) -> None:
    """Convert, then embed the trial pictures in each precision."""
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
    _answer("ready")
    for line in sys.stdin:
        _answer(str(timed(embedders[line.strip()].embed, trial)()))


def _answer(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
