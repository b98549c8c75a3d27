"""The child process that tries OpenVINO: `python -m imgclust.embedding.probe`.

Arguments: a folder that holds graph.pb, the recipe's name, the number of threads, and
precisions. Leaves there the converted model, and trial.npz with the embeddings of the trial
pictures and the rate (images/s) in each precision.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from imgclust.embedding.openvino import OpenVINOEmbedder, images_per_second, import_openvino
from imgclust.embedding.precision import pictures
from imgclust.embedding.recipe import Recipe


def main(folder: Path, name: str, threads: int, precisions: list[str]) -> None:
    """Convert, then embed the trial pictures in each precision."""
    openvino = import_openvino()
    recipe = Recipe.parse(name)
    # the frozen graph is read directly: `convert_model` would be the one place with telemetry
    model = openvino.Core().read_model(folder / "graph.pb")
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    trial = pictures(recipe.side)
    found: dict[str, Any] = {}
    for precision in precisions:
        embedder = OpenVINOEmbedder(
            folder / "model.xml", recipe, precision=precision, threads=threads
        )
        found[precision] = embedder.embed(trial)
        found[f"{precision} rate"] = np.float64(images_per_second(embedder.embed, trial))
    np.savez(folder / "trial.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
