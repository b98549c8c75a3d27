"""From JPEG on disk to committed row: each engine alone, decoding, and the whole of `imgclust add`.

Against one image at a time: full Pillow decode and Keras' `predict`, same weights and layers.
All arms run in turn, several times; ratios are medians of what was measured in the same turn.
The arms (scripts/embed_arms.py) are processes that wait while another one is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from embed_arms import full_decode, ours
from numpy.typing import NDArray
from PIL import Image

from imgclust import devices
from imgclust.embedding import graph_cache, openvino

SAMPLES = Path(__file__).parent / "samples" / "photos"
NEIGHBOURS = 10
WEB, LARGE = (640, 480), (4000, 3000)
BATCH = 32


class Arm:
    """A process that measures."""

    def __init__(self, kind: str, *, environment: dict[str, str] | None = None, **settings: Any):
        here = Path(__file__).parent
        self._process = subprocess.Popen(
            [sys.executable, str(here / "embed_arms.py"), kind, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(here.parent), **(environment or {})},
        )
        self.threads = self._answer()["threads"]

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Have something done and return the result of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"an arm ended: {self._process.args!r}")
        found: dict[str, Any] = json.loads(line)
        return found


class Bench:
    """The files, the arms, and what they said in each round."""

    def __init__(self, folder: Path, *, images: int, rounds: int) -> None:
        self.folder, self.images, self.rounds = folder, images, rounds
        self.cache = folder / "cache"
        self.rates: dict[str, list[float]] = {}
        self.memory: dict[str, float] = {}
        self.agreement: dict[str, tuple[float, float, float]] = {}
        self.colds: dict[str, dict[str, list[float]]] = {}
        self.first: dict[str, list[float]] = {}
        self.threads = 0

    def said(self, line: str) -> None:
        """Tell the person who waits how far it is."""
        print(line, file=sys.stderr, flush=True)

    def note(self, name: str, found: dict[str, Any]) -> None:
        """Keep a rate, and the most memory."""
        self.rates.setdefault(name, []).append(found["rate"])
        self.said(f"  {name}: {found['rate']:.2f} images/s")
        if "memory" in found:
            self.memory[name] = max(self.memory.get(name, 0.0), found["memory"])

    def ratio(self, one: str, other: str) -> float | None:
        """Median of the ratios of one turn each."""
        if one not in self.rates or other not in self.rates:
            return None
        pairs = zip(self.rates[one], self.rates[other], strict=True)
        return statistics.median(a / b for a, b in pairs)

    # What is measured

    def run(self) -> None:
        """Make the files, start the arms, run the rounds."""
        self.said("making the files, starting the arms")
        web = pictures(self.folder / "web", self.images, WEB)
        large = pictures(self.folder / "large", 4, LARGE)
        pixels = self.folder / "pixels.npy"
        np.save(pixels, np.stack([full_decode(path.read_bytes()) for path in web]))
        baseline, decoding = Arm("baseline"), Arm("decoding")
        self.gflop = baseline.ask("load")["gflop"]
        self.threads = baseline.threads
        engines = ["tensorflow"] + ["openvino"] * openvino.installed()
        words = graph_cache.candidates("auto", device="cpu", flags=devices.cpu_flags())
        kernels = {
            f"{engine} {word}": Arm("kernel", engine=engine, precision=word, cache=str(self.cache))
            for engine in engines
            for word in reversed(words)
        }
        self.compare(baseline, kernels, pixels, web, large)
        some = [str(path) for path in web[: max(4, self.images // 8)]]
        for number in range(self.rounds):
            for word in words:
                found = baseline.ask("peak", precision=word)["gflops"]
                self.rates.setdefault(f"peak {word}", []).append(found)
            for name, arm in kernels.items():
                self.note(name, arm.ask("rate", n=self.images // 2, batch=BATCH))
                self.note(f"{name}, one at a time", arm.ask("rate", n=len(some), batch=1))
            self.note("baseline", baseline.ask("rate", files=some))
            for size, files in (("web", web), ("12 MP", large)):
                for how in ("full", "ours"):
                    names = [str(path) for path in files]
                    self.note(f"{size} {how}", decoding.ask("rate", files=names, how=how))
            for engine in engines:
                found = self.add(self.folder / "web", engine, self.images)
                self.note(f"add {engine}", found)
            self.cold(web[0], engines, number)
            self.said(f"round {number + 1} of {self.rounds} is done")
        for arm in (baseline, decoding, *kernels.values()):
            arm.close()

    def add(self, path: Path, engine: str, files: int, **more: Any) -> dict[str, Any]:
        """One run of `imgclust add`, in a new process and a new collection."""
        arm = Arm("add", environment=self.environment(engine, more.pop("cache", self.cache)))
        with tempfile.TemporaryDirectory(dir=self.folder) as index:
            found = arm.ask("run", path=str(path), index=index, files=files, **more)
            arm.close()
            if engine not in self.agreement and files > 1:
                self.stored(Path(index), f"add {engine}")
        return found

    def environment(self, engine: str, cache: Path) -> dict[str, str]:
        """Settings of a run by the environment."""
        return {
            "IMGCLUST_CACHE": str(cache),
            "IMGCLUST_EMBEDDING_WEIGHTS": "trunk",
            "IMGCLUST_EMBEDDING_ENGINE": engine,
            "IMGCLUST_EMBEDDING_DEVICE": "cpu",
        }

    def cold(self, path: Path, engines: list[str], number: int) -> None:
        """One image into a new collection, by a process that has loaded nothing."""
        arms: list[tuple[str, dict[str, Any]]] = [("tensorflow, as before", {"traced": True})]
        arms += [(engine, {}) for engine in engines]
        if not number:
            arms.append(("tensorflow, first time", {"cache": self.folder / "empty"}))
        for name, more in arms:
            found = self.add(path, name.partition(",")[0], 1, **more)
            parts = self.colds.setdefault(name, {})
            before = 0.0
            for part, at in found["parts"]:
                parts.setdefault(part, []).append(at - before)
                before = at
            self.first.setdefault(name, []).append(found["first"])

    # Agreement

    def compare(
        self,
        baseline: Arm,
        kernels: dict[str, Arm],
        pixels: Path,
        web: list[Path],
        large: list[Path],
    ) -> None:
        """Embeddings of every arm against Keras' of fully decoded pictures."""
        self._web = {os.fsencode(path.resolve()): row for row, path in enumerate(web)}
        out = self.folder / "embeddings.npy"
        baseline.ask("embed", pixels=str(pixels), out=str(out))
        self._reference = np.load(out)
        for name, arm in kernels.items():
            arm.ask("load", pixels=str(pixels))
            for shown, batch in ((name, BATCH), (f"{name}, one at a time", 1)):
                arm.ask("embed", pixels=str(pixels), out=str(out), batch=batch)
                self.agreement[shown] = compared(np.load(out), self._reference)
        arm = next(iter(kernels.values()))
        for size, files in (("web", web), ("12 MP", large)):
            found = []
            for how in (ours, full_decode):
                one = self.folder / "decoded.npy"
                np.save(one, np.stack([how(path.read_bytes()) for path in files]))
                arm.ask("embed", pixels=str(one), out=str(out), batch=BATCH)
                found.append(np.load(out))
            self.agreement[f"{size} ours"] = compared(*found)

    def stored(self, index: Path, name: str) -> None:
        """What a run has committed, against the same reference."""
        from imgclust import Collection
        from imgclust.catalog.catalog import Catalog

        with Collection.open(index) as collection, Catalog(collection.folders.catalog) as catalog:
            ids, found = collection.embeddings()
            paths = {image.id: image.path for image in catalog.images.all()}
        rows = [self._web[os.path.realpath(paths[int(one)])] for one in ids]
        self.agreement[name] = compared(found, self._reference[rows])


def pictures(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Sample photos enlarged to `size`, with the grain of a sensor, as JPEGs of their own bytes."""
    folder.mkdir()
    paths, samples = [], sorted(SAMPLES.glob("*.jpg"))
    for number in range(count):
        with Image.open(samples[number % len(samples)]) as image:
            upright = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        grain = np.random.default_rng(number).normal(0, 4, (size[1] // 2, size[0] // 2))
        noise = Image.fromarray((grain + 128).clip(0, 255).astype(np.uint8)).resize(size)
        added = np.asarray(upright, np.int16) + (np.asarray(noise, np.int16) - 128)[..., None]
        path = folder / f"{number:04d}.jpg"
        Image.fromarray(added.clip(0, 255).astype(np.uint8)).save(path, quality=88)
        paths.append(path)
    return paths


def compared(one: NDArray[Any], other: NDArray[Any]) -> tuple[float, float, float]:
    """Least and mean cosine of the same rows, and mean overlap of the nearest neighbours."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    cosine = (a * b).sum(axis=1)
    nearest = []
    for vectors in (a, b):
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -2)
        nearest.append(np.argsort(-scores, axis=1)[:, : min(NEIGHBOURS, len(a) - 1)])
    shared = [len(set(x) & set(y)) / len(x) for x, y in zip(*nearest, strict=True)]
    return float(cosine.min()), float(cosine.mean()), float(np.mean(shared))


# What is printed


def table(bench: Bench) -> list[str]:
    """Lines for people."""
    peaks = {name[5:]: statistics.median(of) for name, of in bench.rates.items() if "peak" in name}
    lines = [
        f"{bench.threads} threads; matrix product "
        + ", ".join(f"{word} {peak:.0f} GFLOP/s" for word, peak in peaks.items())
        + f"; the network {bench.gflop:.1f} GFLOP an image",
        f"{'':34}{'images/s':>9}{'of peak':>9}{'min cos':>9}{'mean':>9}{'top-10':>8}{'MB':>7}",
    ]
    for name, rates in bench.rates.items():
        if name.startswith("peak"):
            continue
        rate = statistics.median(rates)
        word = name.partition(",")[0].rpartition(" ")[2]
        share = f"{rate * bench.gflop / peaks[word]:9.0%}" if word in peaks else f"{'':9}"
        agrees = bench.agreement.get(name)
        none = f"{'held against':>26}"  # full decode and the baseline are what the others are
        cosines = "{:9.5f}{:9.5f}{:8.3f}".format(*agrees) if agrees else none
        memory = f"{bench.memory[name]:7.0f}" if name in bench.memory else ""
        lines.append(f"{name:34}{rate:9.2f}{share}{cosines}{memory}".rstrip())
    if "bfloat16" not in peaks:
        lines.append(f"{'bfloat16':34} not on this processor: it has neither AVX512_BF16 nor AMX")
    return lines


def ratios(bench: Bench) -> dict[str, tuple[float | None, float]]:
    """Each ratio that was asked for: what it is, and what it should be at least."""
    found: dict[str, tuple[float | None, float]] = {
        "add, tensorflow / baseline": (bench.ratio("add tensorflow", "baseline"), 4.0),
        "add, openvino / baseline": (bench.ratio("add openvino", "baseline"), 5.0),
    }
    for engine, asked in (("tensorflow", 1.5), ("openvino", 1.8)):
        best = f"{engine} bfloat16"
        best = best if best in bench.rates else f"{engine} float32"
        found[f"add / {best}"] = (bench.ratio(f"add {engine}", best), 0.85)
        found[f"{engine}, bfloat16 / float32"] = (
            bench.ratio(f"{engine} bfloat16", f"{engine} float32"),
            asked,
        )
    found["12 MP, ours / full decode"] = (bench.ratio("12 MP ours", "12 MP full"), 4.0)
    return found


def report(bench: Bench) -> list[str]:
    """The table, the ratios and the start."""
    lines = [*table(bench), ""]
    for name, (ratio, asked) in ratios(bench).items():
        shown = "not on this processor" if ratio is None else f"{ratio:.2f}"
        lines.append(f"{name:34} {shown:>8}   (asked: {asked:g})")
    lines += ["", "from the start of `imgclust add one.jpg`, seconds"]
    for name, parts in bench.colds.items():
        first = statistics.median(bench.first[name])
        lines.append(f"{name}: committed after {first:.2f}")
        lines += [f"    {part:36}{statistics.median(of):7.2f}" for part, of in parts.items()]
    return lines


def document(bench: Bench) -> dict[str, Any]:
    """Everything as it was measured."""
    return {
        "threads": bench.threads,
        "gflop": bench.gflop,
        "rates": bench.rates,
        "agreement": bench.agreement,
        "memory_mb": bench.memory,
        "ratios": {name: ratio for name, (ratio, _) in ratios(bench).items()},
        "cold_start_s": bench.colds,
        "committed_after_s": bench.first,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds with fewer images")
    parser.add_argument("--images", type=int, default=128, help="web-size files in the folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write (a local disk)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    chosen = parser.parse_args()
    images, rounds = (48, 2) if chosen.quick else (chosen.images, chosen.rounds)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        bench = Bench(Path(name), images=images, rounds=rounds)
        bench.run()
        print(*report(bench), sep="\n")
    if chosen.out:
        chosen.out.write_text(json.dumps(document(bench), indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
