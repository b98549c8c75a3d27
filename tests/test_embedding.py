"""Embeddings: batches, precision, and InceptionV3 held against Keras."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imgclust import devices
from imgclust.embedding.engine_selection import open_embedder, why_engine
from imgclust.embedding.graph_cache import agreement, candidates, times_as_fast
from imgclust.embedding.inception_graph import (
    SHAPES,
    InceptionV3Embedder,
    import_tensorflow,
    outputs,
)
from imgclust.embedding.recipe import Embedder, check_embeddings, in_batches, recipe_of
from imgclust.embedding.tf_c_api import LibraryEmbedder, session_config
from imgclust.errors import EmbeddingError, RecipeError, UsageError
from imgclust.images.decoder import Picture, decode
from imgclust.weights.loader import Convolution, load, trunk, verify
from tests import topology
from tests.fakes import FakeEmbedder
from tests.weights_files import write_keras_official

Array = NDArray[Any]


def cosines(one: Array, two: Array) -> Array:
    """Cosine of each row of one (n, ...) with the same row of two."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (one, two))
    cosine: Array = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosine


# --- batches


@pytest.mark.parametrize(
    ("count", "lengths"),
    [(0, []), (1, [1]), (2, [2]), (3, [4]), (4, [4]), (5, [4, 1]), (11, [4, 4, 4])],
)
def test_batches_are_padded_to_the_smallest_shape(count: int, lengths: list[int]) -> None:
    seen: list[int] = []

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(len(batch))
        return batch.astype(np.float32) + 1

    rows = np.arange(count * 3, dtype=np.uint8).reshape(count, 3)
    np.testing.assert_array_equal(in_batches(run, rows, (1, 2, 4), 3), rows + 1.0)
    assert seen == lengths


def test_wrong_dimensions_are_an_error() -> None:
    rows = np.zeros((2, 3), np.uint8)
    with pytest.raises(EmbeddingError, match="instead of"):
        in_batches(lambda batch: batch.astype(np.float32), rows, (2,), 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(bad: float) -> None:
    embeddings = np.ones((3, 4), np.float32)
    recipe = FakeEmbedder(4).recipe
    assert check_embeddings(embeddings, recipe) is embeddings
    embeddings[1, 2] = bad
    with pytest.raises(EmbeddingError, match="1 of 3"):
        check_embeddings(embeddings, recipe)


# --- precision


@pytest.mark.parametrize(
    ("wanted", "device", "flags", "tried"),
    [
        ("auto", "cpu", {"avx2"}, ("float32",)),
        ("auto", "cpu", {"avx512_bf16"}, ("bfloat16", "float32")),
        ("auto", "cpu", {"amx_bf16"}, ("bfloat16", "float32")),
        ("auto", "gpu", set(), ("float16", "float32")),
        ("float32", "cpu", {"amx_bf16"}, ("float32",)),
        ("float32", "gpu", set(), ("float32",)),
        ("bfloat16", "cpu", {"avx512_bf16"}, ("bfloat16",)),
        ("float16", "gpu", set(), ("float16",)),
    ],
)
def test_precisions_to_try(wanted: str, device: str, flags: set[str], tried: object) -> None:
    assert candidates(wanted, device=device, flags=flags) == tried


@pytest.mark.parametrize(
    ("wanted", "device", "flags"),
    [
        ("bfloat16", "cpu", {"avx512f"}),
        ("float16", "cpu", {"avx512_bf16"}),
        ("bfloat16", "gpu", set()),
        ("double", "cpu", set()),
    ],
)
def test_precisions_that_cannot_be_had(wanted: str, device: str, flags: set[str]) -> None:
    with pytest.raises(UsageError):
        candidates(wanted, device=device, flags=flags)


def test_agreement_is_the_least_cosine() -> None:
    fake = FakeEmbedder(8)

    def third_turned(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        embeddings = fake.embed(pixels)
        embeddings[2] *= -3
        return embeddings

    assert agreement(fake.embed, fake.embed, side=299) == pytest.approx(1)
    assert agreement(fake.embed, third_turned, side=299) == pytest.approx(-1)


def test_rates_are_compared_in_turn() -> None:
    """A machine that becomes ten times slower on the way does not decide, nor does one stall."""
    seconds = {
        "one": iter([9.0, 1.0, 1.0, 1.0, 10.0, 10.0, 90.0, 10.0]),
        "other": iter([5.0, 2.0, 2.0, 2.0, 20.0, 20.0, 20.0, 20.0]),
    }
    order: list[str] = []

    def run(name: str) -> float:
        order.append(name)
        return next(seconds[name])

    assert times_as_fast(lambda: run("one"), lambda: run("other")) == 2
    assert {tuple(sorted(pair)) for pair in zip(order[::2], order[1::2], strict=True)} == {
        ("one", "other")
    }


class Stand:
    """Takes the place of InceptionV3Embedder where the choice is tested, not the network."""

    error = 0.0

    def __init__(
        self, convolutions: object, recipe: Any, *, device: str, precision: str, threads: int
    ) -> None:
        self.recipe = recipe
        self.provenance = f"{device} {precision}"

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        embeddings = np.ones((len(pixels), 2), np.float32)
        if "float32" not in self.provenance:
            embeddings[0, 0] += self.error
        return embeddings


@pytest.mark.parametrize(
    ("device", "precision", "error", "used"),
    [
        ("cpu", "auto", 0.01, "cpu bfloat16"),
        ("cpu", "auto", 0.5, "cpu float32"),
        ("cpu", "bfloat16", 0.01, "cpu bfloat16"),
        ("auto", "auto", 0.01, "gpu float16"),
        ("gpu", "auto", 0.5, "gpu float32"),
        ("gpu", "float32", 0.5, "gpu float32"),
    ],
)
def test_reduced_precision_has_to_agree(
    device: str, precision: str, error: float, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, error)
    weights = trunk()
    embedder = open_embedder(weights, recipe=recipe_of(weights), device=device, precision=precision)
    assert embedder.provenance == used


def test_asked_for_precision_that_does_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, 0.5)
    weights = trunk()
    with pytest.raises(EmbeddingError, match="does not agree"):
        open_embedder(weights, recipe=recipe_of(weights), device="cpu", precision="bfloat16")


def test_a_driver_without_a_card_that_tensorflow_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, 0.0)
    monkeypatch.setattr("imgclust.devices.tensorflow_gpus", list)
    weights = trunk()
    recipe = recipe_of(weights)
    assert open_embedder(weights, recipe=recipe, device="auto").provenance == "cpu bfloat16"
    with pytest.raises(UsageError, match="no GPU is seen here"):
        open_embedder(weights, recipe=recipe, device="gpu")


def test_a_batch_fills_the_largest_shape_of_a_gpu() -> None:
    wanted = devices.batch_images(device="gpu", engine="auto")
    assert SHAPES["gpu"][-1] == wanted


def stand_in(monkeypatch: pytest.MonkeyPatch, error: float) -> None:
    monkeypatch.setattr(Stand, "error", error)
    opening = "imgclust.embedding.engine_selection"
    monkeypatch.setattr(f"{opening}.InceptionV3Embedder", Stand)
    monkeypatch.setattr(f"{opening}.import_tensorflow", lambda: None)
    monkeypatch.setattr("imgclust.devices.nvidia_driver", lambda: True)
    monkeypatch.setattr("imgclust.devices.tensorflow_gpus", lambda: ["GPU:0"])
    monkeypatch.setattr("imgclust.devices.cpu_flags", lambda: frozenset({"avx512_bf16"}))


def test_another_files_recipe_is_refused() -> None:
    weights = trunk()
    recipe = replace(recipe_of(weights), weights_sha256="00" * 32)
    with pytest.raises(RecipeError, match="00000000"):
        open_embedder(weights, recipe=recipe)


# --- a saved graph


class Saved:
    """Takes the place of LibraryEmbedder: bfloat16 is off by `error`."""

    error = 0.0
    refuses = False
    opened: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, graph: bytes, recipe: Any, *, precision: str, threads: int) -> None:
        if self.refuses:
            raise EmbeddingError("TensorFlow's library cannot be used: no such file")
        assert graph == b"the graph"
        self.opened.append((precision, threads))
        self.provenance = precision

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        embeddings = np.ones((len(pixels), 2), np.float32)
        if self.provenance == "bfloat16":
            embeddings[0, 0] += self.error
        return embeddings


def save_in(
    monkeypatch: pytest.MonkeyPatch, *, error: float, faster: float = 2.0, refuses: bool = False
) -> list[str]:
    """Put the stand-in in place; returns the list of graphs that are made."""
    made: list[str] = []

    def frozen(convolutions: object, recipe: Any) -> bytes:
        made.append("graph")
        return b"the graph"

    stand_in(monkeypatch, 0.0)
    monkeypatch.setattr(Saved, "error", error)
    monkeypatch.setattr(Saved, "refuses", refuses)
    monkeypatch.setattr(Saved, "opened", [])
    for module in ("engine_selection", "graph_cache"):
        monkeypatch.setattr(f"imgclust.embedding.{module}.LibraryEmbedder", Saved)
    monkeypatch.setattr("imgclust.embedding.engine_selection.frozen_graph", frozen)
    monkeypatch.setattr("imgclust.embedding.graph_cache.times_as_fast", lambda *rest: faster)
    return made


def open_saved(cache: Path, precision: str, said: list[str]) -> Embedder:
    weights = trunk()
    return open_embedder(
        weights,
        recipe=recipe_of(weights),
        cache=cache,
        device="cpu",
        engine="tensorflow",
        precision=precision,
        threads=3,
        say=said.append,
    )


@pytest.mark.parametrize(
    ("precision", "error", "faster", "used"),
    [
        ("auto", 0.01, 2.0, "bfloat16"),
        ("auto", 0.5, 2.0, "float32"),
        ("auto", 0.01, 0.8, "float32"),  # agrees, and is slower
        ("bfloat16", 0.01, 0.8, "bfloat16"),
        ("float32", 0.5, 2.0, "float32"),
    ],
)
def test_precision_is_tried_once_and_remembered(
    precision: str,
    error: float,
    faster: float,
    used: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = save_in(monkeypatch, error=error, faster=faster)
    weights = trunk()

    def why() -> str | None:
        return why_engine(
            recipe_of(weights),
            cache=tmp_path,
            device="cpu",
            engine="tensorflow",
            precision=precision,
        )

    if precision != "float32":
        assert why() is None
    said: list[str] = []
    assert open_saved(tmp_path, precision, said).provenance == used
    assert bool(said) == (precision != "float32")
    assert (used, 3) in Saved.opened
    Saved.opened.clear()
    said.clear()
    assert open_saved(tmp_path, precision, said).provenance == used
    assert Saved.opened == [(used, 3)]
    assert said == []
    assert made == ["graph"]
    assert f" {used}" in (why() or "")
    assert [path.name[:11] for path in tmp_path.iterdir()] == ["tensorflow-"]


def test_saved_precision_that_does_not_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_in(monkeypatch, error=0.5)
    for _ in range(2):  # tried, then remembered
        with pytest.raises(EmbeddingError, match="does not agree"):
            open_saved(tmp_path, "bfloat16", [])


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "removed"])
def test_damaged_graph_is_made_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = save_in(monkeypatch, error=0.0)
    open_saved(tmp_path, "float32", [])
    (path,) = tmp_path.rglob("graph.pb")
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-1], "changed": b"T" + content[1:], "empty": b""}[damage])
    open_saved(tmp_path, "float32", [])
    assert made == ["graph", "graph"]
    assert path.read_bytes() == content


def test_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = save_in(monkeypatch, error=0.0)
    (tmp_path / "file").write_bytes(b"")
    said: list[str] = []
    for _ in range(2):
        assert open_saved(tmp_path / "file" / "cache", "auto", said).provenance == "bfloat16"
    assert len(made) == 2
    assert any("every start takes longer" in line for line in said)


def test_library_that_cannot_be_used_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_in(monkeypatch, error=0.0, refuses=True)
    said: list[str] = []
    assert open_saved(tmp_path, "float32", said).provenance == "cpu float32"
    assert open_saved(tmp_path, "auto", said).provenance == "cpu bfloat16"
    assert all("cannot be used" in line or line.startswith("trying") for line in said)


def test_a_thousand_threads_are_two_bytes() -> None:
    assert session_config(precision="float32", threads=300).startswith(b"\x10\xac\x02\x28\xac\x02")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_session_config_says_what_it_is_meant_to(precision: str) -> None:
    tf = import_tensorflow()
    config = tf.compat.v1.ConfigProto.FromString(session_config(precision=precision, threads=300))
    assert config.intra_op_parallelism_threads == config.inter_op_parallelism_threads == 300
    assert config.use_per_session_threads
    options = config.graph_options.rewrite_options
    assert options.disable_meta_optimizer == (precision == "float32")
    assert options.auto_mixed_precision_onednn_bfloat16 == (precision == "bfloat16")


def test_broken_graph_is_an_error() -> None:
    recipe = recipe_of(trunk())
    with pytest.raises(EmbeddingError, match="TF_GraphImportGraphDef"):
        LibraryEmbedder(b"no graph", recipe, precision="float32", threads=1)
    with pytest.raises(EmbeddingError, match="no operation 'pixels'"):
        LibraryEmbedder(b"", recipe, precision="float32", threads=1)


# --- the network


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module", params=["library", "traced"])
def embedder(cache: Path, request: pytest.FixtureRequest) -> Embedder:
    """By the saved graph, as usual on a CPU, and by the function traced in this process."""
    weights = trunk()
    return open_embedder(
        weights,
        recipe=recipe_of(weights),
        cache=cache if request.param == "library" else None,
        device="cpu",
        precision="float32",
        engine="tensorflow",
    )


@pytest.fixture(scope="module")
def photos() -> NDArray[np.uint8]:
    with np.load(topology.GOLDEN) as golden:
        return np.stack([topology.photo(topology.PHOTOS / name) for name in golden["names"]])


def composed(mixed6: Array, mixed8: Array) -> Array:
    """The trunk's recipe in numpy: roots, parts at unit length, whole at unit length."""
    parts = [np.sqrt(part.astype(np.float64)) for part in (mixed6, mixed8)]
    whole = np.hstack([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts])
    embeddings: Array = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    return embeddings


def test_golden_embeddings(embedder: Embedder, photos: NDArray[np.uint8]) -> None:
    with np.load(topology.GOLDEN) as golden:
        expected = composed(golden["mixed6"], golden["mixed8"])
    embeddings = embedder.embed(photos)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (3, embedder.recipe.dimensions)
    # photos are decoded anew, and JPEG decoders may differ by a grey level
    assert cosines(embeddings, expected).min() > 0.9999
    assert "float32" in embedder.provenance


def test_embedding_does_not_depend_on_the_batch(
    embedder: Embedder, photos: NDArray[np.uint8]
) -> None:
    many = np.concatenate([photos, photos[:2]])  # 5 images: padded to 6
    together = embedder.embed(many)
    for number in range(3):
        alone = embedder.embed(photos[number : number + 1])[0]
        np.testing.assert_allclose(together[number], alone, atol=1e-5)
    np.testing.assert_allclose(together[3:], together[:2], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert embedder.embed(photos[:0]).shape == (0, 2048)


def test_black_picture_has_a_finite_embedding(embedder: Embedder) -> None:
    embeddings = embedder.embed(np.zeros((1, 299, 299, 3), np.uint8))
    assert np.isfinite(embeddings).all()
    assert np.linalg.norm(embeddings) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 299, 299, 3), np.float32),
        np.zeros((299, 299, 3), np.uint8),
        np.zeros((1, 224, 224, 3), np.uint8),
    ],
)
def test_pixels_of_another_kind(embedder: Embedder, pixels: Any) -> None:
    with pytest.raises(EmbeddingError, match="pixels are"):
        embedder.embed(pixels)


def test_embedder_raises_for_values_that_are_not_finite() -> None:
    weights = trunk()
    convolutions = list(load(weights))
    convolutions[75] = convolutions[75]._replace(beta=convolutions[75].beta + np.float32(np.inf))
    with pytest.raises(EmbeddingError, match="not finite"):
        InceptionV3Embedder(convolutions, recipe_of(weights), device="cpu", precision="float32")


@pytest.mark.slow
def test_tensorflow_comes_without_keras_and_quietly() -> None:
    script = """
import sys
from imgclust.embedding.inception_graph import import_tensorflow
tf = import_tensorflow()
assert not {"keras", "sklearn", "matplotlib"} & set(sys.modules), "Keras came along"
if len(sys.argv) > 1:
    assert tf.keras.layers.Dense
    import keras.src.optimizers
"""
    for arguments in ([], ["keras"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        if not arguments:
            assert done.stderr == ""


@pytest.mark.slow
def test_size_and_format_of_a_photo_hardly_change_its_embedding(cache: Path) -> None:
    weights = trunk()
    embedder = open_embedder(
        weights, recipe=recipe_of(weights), cache=cache, device="cpu", engine="tensorflow"
    )
    for number in (1, 57):
        with Image.open(topology.PHOTOS / f"photo-{number:03d}.jpg") as photo:
            large = photo.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
        files = [saved(large, "JPEG"), saved(large, "PNG")]
        for size in ((2000, 1500), (1100, 825), (640, 480)):
            files.append(saved(large.resize(size, Image.Resampling.LANCZOS), "JPEG"))
        # the oracle: every pixel of the largest decoded, and all of them resized at once
        with Image.open(io.BytesIO(files[0])) as image:
            full = np.asarray(image.resize((299, 299), Image.Resampling.BILINEAR))
        pixels = [full]
        for content in files:
            picture = decode(content, thumbnail_px=0)
            assert isinstance(picture, Picture)
            pixels.append(picture.pixels)
        embeddings = embedder.embed(np.stack(pixels))
        assert cosines(embeddings[1:], np.broadcast_to(embeddings[0], (5, 2048))).min() >= 0.995


def saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": 90} if kind == "JPEG" else {"compress_level": 1}
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "float16", "float32"])
def test_gpu_agrees_with_the_processor(
    precision: str, cache: Path, photos: NDArray[np.uint8]
) -> None:
    if not devices.nvidia_driver():
        pytest.skip("no GPU here")
    weights = trunk()
    recipe = recipe_of(weights)
    one = open_embedder(weights, recipe=recipe, cache=cache, device="gpu", precision=precision)
    assert " gpu float" in one.provenance
    other = open_embedder(
        weights, recipe=recipe, cache=cache, device="cpu", precision="float32", engine="tensorflow"
    )
    many = np.concatenate([photos] * 30)  # more than one batch of the largest shape
    assert cosines(one.embed(many), other.embed(many)).min() >= 0.999


# --- oracles


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return topology.find_package(tmp_path_factory.mktemp("npm"))


def maps(convolutions: tuple[Convolution, ...], pixels: NDArray[np.uint8]) -> dict[str, Array]:
    """Our mixed6 and mixed8 for pixels / 255."""
    tf = import_tensorflow()
    found = outputs(tf.constant(pixels, tf.float32) / 255.0, convolutions, "mixed8")
    return {name: found[name].numpy() for name in ("mixed6", "mixed8")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_trunk_against_the_packages_own_topology(package: Path) -> None:
    from sklearn.datasets import load_sample_images

    model = topology.build(*topology.read_model(package))
    # two real photographs (china.jpg, flower.jpg), cut so that nothing is resized
    pixels = np.stack([image[:299, 100:399] for image in load_sample_images().images])
    expected = dict(
        zip(
            ("mixed6", "mixed8"),
            model.predict_on_batch(pixels.astype(np.float32) / np.float32(255)),
            strict=True,
        )
    )
    convolutions = load(trunk())
    for name, found in maps(convolutions, pixels).items():
        assert found.shape == expected[name].shape
        assert cosines(found, np.asarray(expected[name])).min() > 0.99999

    def agrees(changed: list[Convolution]) -> bool:
        found = maps(tuple(changed), pixels)["mixed8"]
        return bool(cosines(found, np.asarray(expected["mixed8"])).min() > 0.99999)

    assert agrees(list(convolutions))
    swapped = list(convolutions)  # two whole convolutions of mixed4, (7, 1, 128, 128) both
    swapped[35], swapped[37] = swapped[37], swapped[35]
    assert not agrees(swapped)
    swapped = list(convolutions)  # one small array: the means after two branches of mixed7
    swapped[60] = convolutions[60]._replace(mean=convolutions[69].mean)
    swapped[69] = convolutions[69]._replace(mean=convolutions[60].mean)
    assert not agrees(swapped)


@pytest.mark.slow
def test_build_script_makes_the_committed_file(package: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "scripts" / "build_trunk.py"
    made = tmp_path / "made.npz"
    subprocess.run([sys.executable, script, package, "--out", made], check=True)
    assert made.read_bytes() == trunk().path.read_bytes()
    (tmp_path / "other.tgz").write_bytes(package.read_bytes()[:-1])
    done = subprocess.run(
        [sys.executable, script, tmp_path / "other.tgz"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "SHA-512" in done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_full_network_against_keras(tmp_path: Path, photos: NDArray[np.uint8]) -> None:
    import keras

    path = tmp_path / "keras.h5"
    model: Any = write_keras_official(path)
    prepared = keras.applications.inception_v3.preprocess_input(photos.astype(np.float32))
    pooled = np.asarray(model.predict_on_batch(prepared), np.float64).mean(axis=(1, 2))
    weights = verify(path)
    for raw in (True, False):
        recipe = recipe_of(weights, raw=raw)
        embedder = open_embedder(weights, recipe=recipe, device="cpu", precision="float32")
        found = embedder.embed(photos)
        expected = pooled if raw else np.sqrt(pooled)
        assert cosines(found, expected).min() > 0.99999
        lengths = np.linalg.norm(expected, axis=1) if raw else np.ones(3)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths, rtol=1e-4)
