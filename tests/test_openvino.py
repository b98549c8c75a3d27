"""The engine OpenVINO: the trial in a child process, what is kept of it, and the choice."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.embedding.engine_selection import open_embedder, why_engine
from imgclust.embedding.graph_cache import Verdict
from imgclust.embedding.openvino import folder_of, probe, read_verdict
from imgclust.embedding.recipe import recipe_of
from imgclust.errors import EmbeddingError, MissingPackageError, UsageError
from imgclust.weights.loader import trunk
from tests.fakes import FakeEmbedder

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs the extra openvino"
)
Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

# A child that answers instead of OpenVINO: `error` is added to one value of the embeddings.
CHILD = """
import os
import sys
import numpy as np
from pathlib import Path
from imgclust.embedding.graph_cache import pictures
sys.path.insert(0, {root!r})
from tests.fakes import FakeEmbedder
answers, folder, name, threads, *precisions = sys.argv[1:]
(Path(folder) / "model.bin").write_bytes(b"model")
(Path(folder) / "model.xml").write_bytes(b"xml")
found = dict()
for precision in precisions:
    embeddings = FakeEmbedder(8).embed(pictures(299))
    embeddings[1, 0] += {errors}[precision]
    found[precision] = embeddings
np.savez(Path(folder) / "trial.npz", **found)
print("a library's greeting", flush=True)
os.write(int(answers), b"ready\\n")
for line in sys.stdin:
    assert line.strip() in precisions
    print("a library's remark", flush=True)
    os.write(int(answers), b"1e-6\\n")
"""


def tried(
    folder: Path,
    *,
    errors: dict[str, float] | None = None,
    script: str | None = None,
) -> Verdict:
    child = script or CHILD.format(
        root=str(Path(__file__).parents[1]),
        errors=errors or {"bfloat16": 0.0, "float32": 0.0},
    )
    fake = FakeEmbedder(8)
    return probe(
        folder,
        graph=b"graph",
        reference=fake.embed,
        recipe=fake.recipe,
        precisions=("bfloat16", "float32"),
        threads=1,
        command=(sys.executable, "-c", child),
    )


def test_first_precision_that_agrees_is_taken_and_kept(tmp_path: Path) -> None:
    verdict = tried(tmp_path / "cache" / "kept")
    assert verdict.precision == "bfloat16"
    assert "cosine 1.00000" in verdict.reason
    assert read_verdict(tmp_path / "cache" / "kept") == verdict
    names = sorted(path.name for path in (tmp_path / "cache" / "kept").iterdir())
    assert names == ["model.bin", "model.xml", "verdict.json"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["kept"]


def test_next_precision_where_the_first_disagrees(tmp_path: Path) -> None:
    verdict = tried(tmp_path / "kept", errors={"bfloat16": 0.5, "float32": 0.0})
    assert verdict.precision == "float32"


@pytest.mark.parametrize(
    ("script", "errors", "word"),
    [
        (None, {"bfloat16": 0.5, "float32": 0.5}, "does not agree"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGFPE)", None, r"\(-8\)"),
        ("raise SystemExit('no such model')", None, "no such model"),
    ],
)
def test_trial_that_fails_is_remembered(
    script: str | None,
    errors: dict[str, float] | None,
    word: str,
    tmp_path: Path,
) -> None:
    verdict = tried(tmp_path / "kept", errors=errors, script=script)
    assert verdict.precision == ""
    assert re.search(word, verdict.reason)
    assert read_verdict(tmp_path / "kept") == verdict
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["verdict.json"]


def test_child_that_ends_or_hangs_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, hang = 'os.write(int(answers), b"1e-6\\n")', "sys.stdin.read()"
    assert run in CHILD
    monkeypatch.setattr(f"{__name__}.CHILD", CHILD.replace(run, "sys.exit('tired')"))
    assert tried(tmp_path / "ended").reason == "OpenVINO failed in a trial (1): tired"
    monkeypatch.setattr("imgclust.embedding.openvino._PROBE_TIMEOUT_S", 5.0)
    monkeypatch.setattr(f"{__name__}.CHILD", CHILD.replace("sys.exit('tired')", hang))
    assert "more than 5 s" in tried(tmp_path / "hung").reason


def test_damaged_model_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    assert read_verdict(folder) is None
    tried(folder)
    (folder / "model.bin").write_bytes(b"other")
    assert read_verdict(folder) is None
    assert tried(folder).precision == "bfloat16"
    assert read_verdict(folder) is not None
    (folder / "verdict.json").write_text("{")
    assert read_verdict(folder) is None


@needs_openvino
def test_folder_differs_by_recipe_and_precisions(tmp_path: Path) -> None:
    one, two = FakeEmbedder(8).recipe, FakeEmbedder(9).recipe
    assert folder_of(tmp_path, one, ("float32",)) == folder_of(tmp_path, one, ("float32",))
    folders = {
        folder_of(tmp_path, recipe, precisions)
        for recipe in (one, two)
        for precisions in (("float32",), ("bfloat16", "float32"))
    }
    assert len(folders) == 4


def test_engine_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = trunk()
    recipe = recipe_of(weights)
    with pytest.raises(UsageError, match="unknown"):
        open_embedder(weights, recipe=recipe, cache=tmp_path, engine="onnx")
    monkeypatch.setattr("imgclust.embedding.openvino.installed", lambda: False)
    with pytest.raises(MissingPackageError, match="openvino"):
        open_embedder(weights, recipe=recipe, cache=tmp_path, engine="openvino")
    monkeypatch.setattr("imgclust.embedding.openvino.installed", lambda: True)
    with pytest.raises(UsageError, match="CPU"):
        open_embedder(weights, recipe=recipe, cache=tmp_path, engine="openvino", device="gpu")


@pytest.mark.parametrize(
    ("engine", "device", "driver", "times", "usual", "used"),
    [
        ("auto", "auto", False, 1.2, 1.0, "openvino"),
        ("auto", "auto", False, 1.8, 1.6, "openvino"),  # by TensorFlow's float32, both
        ("auto", "auto", False, 1.2, 1.6, "library"),
        ("auto", "auto", True, 1.2, 1.0, "traced gpu"),
        ("auto", "cpu", True, 1.2, 1.0, "openvino"),
        ("auto", "auto", False, 0.5, 1.0, "library"),
        ("auto", "auto", False, 0.0, 1.0, "library"),
        ("tensorflow", "auto", False, 1.2, 1.0, "library"),
        ("openvino", "auto", True, 1.2, 1.0, "openvino"),
        ("openvino", "auto", False, 0.5, 1.0, "openvino"),
        ("openvino", "auto", False, 0.0, 1.0, "no"),
    ],
)
def test_choice_of_engine(
    engine: str,
    device: str,
    driver: bool,
    times: float,
    usual: float,
    used: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening = "imgclust.embedding.engine_selection"
    fake = FakeEmbedder(8)
    verdict = Verdict("float32" if times else "", times, "the reason", "")
    opened: list[str] = []

    def opens(name: str) -> Callable[..., FakeEmbedder]:
        def opener(*positional: object, **named: object) -> FakeEmbedder:
            opened.append(f"{name} {named['device']}" if "device" in named else name)
            return fake

        return opener

    monkeypatch.setattr("imgclust.devices.nvidia_driver", lambda: driver)
    monkeypatch.setattr("imgclust.devices.tensorflow_gpus", lambda: ["GPU:0"])
    monkeypatch.setattr("imgclust.devices.cpu_flags", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setattr(f"{opening}.import_tensorflow", lambda: None)
    monkeypatch.setattr(f"{opening}.load", lambda weights: ())
    monkeypatch.setattr(f"{opening}.frozen_graph", lambda *rest: b"graph")
    monkeypatch.setattr(f"{opening}.InceptionV3Embedder", opens("traced"))
    monkeypatch.setattr(f"{opening}.LibraryEmbedder", opens("library"))
    monkeypatch.setattr(
        "imgclust.embedding.graph_cache.read_verdict",
        lambda folder, words: Verdict("bfloat16", usual, "the usual reason"),
    )
    monkeypatch.setattr("imgclust.embedding.openvino.installed", lambda: True)
    monkeypatch.setattr("imgclust.embedding.openvino.folder_of", lambda *rest: tmp_path)
    monkeypatch.setattr("imgclust.embedding.openvino.read_verdict", lambda folder: verdict)
    monkeypatch.setattr("imgclust.embedding.openvino.open_kept", opens("openvino"))
    weights = trunk()
    recipe = recipe_of(weights)

    def open_one() -> None:
        open_embedder(
            weights, recipe=recipe, cache=tmp_path, engine=engine, device=device, precision="auto"
        )

    why = why_engine(recipe, cache=tmp_path, device=device, precision="auto", engine=engine)
    if used == "no":
        with pytest.raises(EmbeddingError, match="the reason; use engine = tensorflow"):
            open_one()
        return
    open_one()
    assert opened[0] == used
    assert why is not None
    assert why.startswith("openvino" if used == "openvino" else "tensorflow")
    assert "the reason" in why or engine == "tensorflow" or "gpu" in used


@needs_openvino
@pytest.mark.slow
def test_openvino_agrees_and_then_starts_without_tensorflow(
    tmp_path: Path,
) -> None:
    weights = trunk()
    recipe = recipe_of(weights)
    said: list[str] = []
    one = open_embedder(
        weights,
        recipe=recipe,
        cache=tmp_path,
        engine="openvino",
        precision="float32",
        say=said.append,
    )
    assert one.provenance.startswith("openvino ")
    assert one.provenance.endswith(" cpu float32")
    assert [line.partition(":")[0] for line in said][-1] == "OpenVINO tried"
    other = open_embedder(weights, recipe=recipe, engine="tensorflow", device="cpu")
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 256, (5, 13, 13, 3), dtype=np.uint8)
    pixels = np.repeat(np.repeat(coarse, 23, axis=1), 23, axis=2)
    np.testing.assert_allclose(one.embed(pixels), other.embed(pixels), atol=1e-4)
    assert one.embed(pixels[:0]).shape == (0, recipe.dimensions)
    assert started_again(tmp_path, "openvino") == "openvino (1, 2048) []"


def started_again(cache: Path, engine: str) -> str:
    script = f"""
import sys
from pathlib import Path
import numpy as np
from imgclust.embedding.engine_selection import open_embedder
from imgclust.embedding.recipe import recipe_of
from imgclust.weights.loader import trunk
embedder = open_embedder(trunk(), recipe=recipe_of(trunk()), cache=Path({str(cache)!r}),
                         engine={engine!r}, precision="float32")
embeddings = embedder.embed(np.zeros((1, 299, 299, 3), np.uint8))
print(embedder.provenance.partition(" ")[0], embeddings.shape,
      sorted({{"tensorflow", "keras", "openvino_telemetry"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
