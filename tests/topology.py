"""The trunk's network as its npm package describes it: an oracle that shares no code with ours.

The model is rebuilt by Keras from the package's own `modelTopology`; its weights are set by name
from the package's own manifest. Nothing of imgclust, and nothing of scripts/build_trunk.py, is
used. `python -m tests.topology` writes tests/golden/pooled.npz anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

GOLDEN = Path(__file__).parent / "golden" / "pooled.npz"
PHOTOS = Path(__file__).parents[1] / "scripts" / "samples" / "photos"
INTEGRITY = (
    "WTKDte0vp1X97N1h34P79G/hG+sVT3+TnDz9di1WseIJR93v11E4viNX7Vg9WsO6HYoR772Nzq2iM8jo3XBZ+g=="
)


def find_package(folder: Path) -> Path:
    """Return the path of nsfwjs-4.3.0.tgz, or skip the test that asks."""
    named = os.environ.get("TRUNK_TGZ")
    path = Path(named) if named else folder / "nsfwjs-4.3.0.tgz"
    if not named:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm, or nsfwjs-4.3.0.tgz named by TRUNK_TGZ")
        done = subprocess.run(
            [npm, "pack", "--silent", "nsfwjs@4.3.0"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            pytest.skip(f"npm pack nsfwjs@4.3.0 failed: {done.stderr.strip()[:200]}")
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    assert digest == INTEGRITY, "another file than npm's nsfwjs 4.3.0"
    return path


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Topology (Keras' configuration of the model) and all weights by name."""
    with tarfile.open(path) as package:

        def text(name: str) -> str:
            member = package.extractfile(f"package/dist/models/inception_v3/{name}.min.js")
            assert member is not None
            return member.read().decode()

        literal = text("model")
        literal = literal[literal.index("{modelTopology:") :]
        depth = 0
        for place, sign in enumerate(literal):  # no string of this file holds a brace
            depth += {"{": 1, "}": -1}.get(sign, 0)
            if depth == 0:
                literal = literal[: place + 1]
                break
        literal = re.sub(r"([{,])(\w+):", r'\1"\2":', literal)
        literal = literal.replace("!0", "true").replace("!1", "false")
        literal = re.sub(r"([:\[,]-?)\.(\d)", r"\g<1>0.\2", literal)
        model = json.loads(literal)
        (group,) = model["weightsManifest"]
        shards = [re.findall(r'"([\w+/]{99,}=*)"', text(name))[0] for name in group["paths"]]
    quantised = b"".join(map(base64.b64decode, shards))
    weights = {}
    for entry in group["weights"]:
        size = math.prod(entry["shape"])
        values, quantised = quantised[:size], quantised[size:]
        plan = entry["quantization"]
        real = np.frombuffer(values, np.uint8) * plan["scale"] + plan["min"]
        weights[entry["name"]] = real.astype(np.float32).reshape(entry["shape"])
    assert not quantised
    return model["modelTopology"]["model_config"]["config"], weights


def build(topology: dict[str, Any], weights: dict[str, NDArray[np.float32]]) -> Any:
    """Return a Keras model from pixels / 255 to (mixed6, mixed8)."""
    import keras

    whole = keras.Model.from_config(topology)
    for layer in whole.layers:
        if layer.weights:
            names = [f"{layer.name}/{variable.name}" for variable in layer.weights]
            layer.set_weights([weights[name] for name in names])
    outputs = [whole.get_layer(name).output for name in ("mixed6", "mixed8")]
    return keras.Model(whole.inputs, outputs)


def pooled(model: Any, pixels: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """Means over positions of mixed6 (n, 768) and mixed8 (n, 1280)."""
    outputs = model.predict_on_batch(pixels.astype(np.float32) / np.float32(255))
    return [np.asarray(output, np.float64).mean(axis=(1, 2)) for output in outputs]


def photo(path: Path) -> NDArray[np.uint8]:
    """Pixels (299, 299, 3) of a picture file."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((299, 299), Image.Resampling.BICUBIC))


def write_golden(package: Path) -> None:
    """Write the pooled values of three committed photos, as the oracle has them."""
    paths = sorted(PHOTOS.glob("*.jpg"))[::80][:3]
    model = build(*read_model(package))
    mixed6, mixed8 = pooled(model, np.stack([photo(path) for path in paths]))
    np.savez_compressed(
        GOLDEN,
        names=np.array([path.name for path in paths]),
        mixed6=mixed6.astype(np.float32),
        mixed8=mixed8.astype(np.float32),
    )


if __name__ == "__main__":
    write_golden(Path(os.environ["TRUNK_TGZ"]))
