"""The child process that tries OpenVINO: `python -m imgclust.embedding.openvino_worker`.

Arguments: the file descriptor that answers go to (a library may print on standard output), a
folder that holds graph.pb, the recipe's name, the number of threads, and precisions. Leaves
there the converted model, and trial.npz with the embeddings of the trial pictures in each
precision. Then it writes a line, and for each precision that it reads embeds the pictures
again and writes the seconds, until its input ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from imgclust.embedding.graph_cache import pictures, timed
from imgclust.embedding.openvino import OpenVINOEmbedder, import_openvino
from imgclust.embedding.recipe import Recipe


def main(answers: int, folder: Path, name: str, threads: int, precisions: list[str]) -> None:
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
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        seconds = timed(embedders[line.strip()].embed, trial)()
        os.write(answers, f"{seconds}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:])
