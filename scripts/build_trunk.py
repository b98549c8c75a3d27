#!/usr/bin/env python3
"""Make imgclust/trunk/trunk.npz from the npm package nsfwjs 4.3.0 (npm pack nsfwjs@4.3.0).

The package holds an InceptionV3 in the format of TensorFlow.js' layers models: a manifest of
weights quantised to 8 bits (value = q * scale + min) over base64 shards inside JS modules. What
lies above `mixed8` is left out; the bytes of the rest are copied, so that the same input gives
the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHA512 = (
    "593283b5ed2fa755fdecdd61df83fbf46fe11beb154f7f939c3cfd762d56b1e2"
    "0947ddefd75138be2357ed583d5ac3ba1d8a11efbd8dceada233c8e8dd7059fa"
)
FOLDER = "package/dist/models/inception_v3"
TOP = "mixed8"
OUT = Path(__file__).resolve().parents[1] / "imgclust" / "trunk" / "trunk.npz"

# One token of the minified object literal that is no JSON: !0, !1, .5, a bare key. Strings
# come first so that nothing inside them is touched.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|![01]|(?<![\w.])\.(?=\d)|[A-Za-z_$][\w$]*(?=:)')


def _as_json(match: re.Match[str]) -> str:
    token = match.group()
    if token.startswith('"'):
        return token
    return {"!0": "true", "!1": "false", ".": "0."}.get(token, f'"{token}"')


def read_model(script: str) -> dict[str, Any]:
    """Model and manifest out of `model.min.js`, whose module exports one object literal."""
    start = script.index("exports={modelTopology") + len("exports=")
    end = script.rindex("},{}]},{},[1])(1)")
    model: dict[str, Any] = json.loads(_TOKEN.sub(_as_json, script[start:end]))
    return model


def read_shard(script: str) -> bytes:
    """Bytes of one shard, whose module exports one base64 string."""
    match = re.search(r'exports="([A-Za-z0-9+/]+=*)"', script)
    if match is None:
        raise ValueError("a shard holds no base64 string")
    return base64.b64decode(match.group(1), validate=True)


def layers_below(model: dict[str, Any], top: str) -> set[str]:
    """Names of `top` and of all layers that it is computed from."""
    layers = model["modelTopology"]["model_config"]["config"]["layers"]
    inputs = {
        layer["name"]: [source[0] for node in layer["inbound_nodes"] for source in node]
        for layer in layers
    }
    found: set[str] = set()
    waiting = [top]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += inputs[name]
    return found


def read_package(packed: bytes) -> dict[str, tuple[NDArray[np.uint8], float, float]]:
    """Quantised weights below `TOP` by name ("conv2d_1/kernel"): values, scale, minimum."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as package:

        def read(name: str) -> str:
            member = package.extractfile(f"{FOLDER}/{name}.min.js")
            if member is None:
                raise ValueError(f"{FOLDER}/{name}.min.js is no file")
            return member.read().decode("ascii")

        model = read_model(read("model"))
        (group,) = model["weightsManifest"]
        stream = b"".join(read_shard(read(path)) for path in group["paths"])
    wanted = layers_below(model, TOP)
    weights = {}
    offset = 0
    for entry in group["weights"]:
        name, shape, quantization = entry["name"], entry["shape"], entry["quantization"]
        if quantization["dtype"] != "uint8":
            raise ValueError(f"{name} is {quantization['dtype']}, not uint8")
        count = int(np.prod(shape))
        if name.partition("/")[0] in wanted:
            values = np.frombuffer(stream, np.uint8, count, offset).reshape(shape)
            weights[name] = (values, float(quantization["scale"]), float(quantization["min"]))
        offset += count
    if offset != len(stream):
        raise ValueError(f"the manifest speaks of {offset} bytes, the shards hold {len(stream)}")
    return weights


def pack(weights: dict[str, tuple[NDArray[np.uint8], float, float]]) -> bytes:
    """Bytes of the .npz file: stored, fixed dates, names in order, no pickle."""
    names = sorted(weights)
    arrays: dict[str, NDArray[Any]] = {
        "names": np.array(names),
        "scale": np.array([weights[name][1] for name in names], np.float64),
        "minimum": np.array([weights[name][2] for name in names], np.float64),
    }
    arrays.update({name: weights[name][0] for name in names})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, member.getvalue())
    return packed.getvalue()


def main() -> None:
    """Read the arguments, write the file, say what it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="nsfwjs-4.3.0.tgz, as npm pack leaves it")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    arguments = parser.parse_args()
    packed = arguments.file.read_bytes()
    if hashlib.sha512(packed).hexdigest() != SHA512:
        sys.exit(f"{arguments.file} is not nsfwjs 4.3.0: its SHA-512 is another one")
    made = pack(read_package(packed))
    arguments.out.write_bytes(made)
    print(f"{arguments.out}: {len(made):,} bytes, SHA-256 {hashlib.sha256(made).hexdigest()}")


if __name__ == "__main__":
    main()
