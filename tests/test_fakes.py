import numpy as np

from imgclust.embedding.recipe import Embedder
from tests.fakes import FakeEmbedder


def test_fake_embedder_keeps_the_protocol() -> None:
    embedder: Embedder = FakeEmbedder(16)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (3, 299, 299, 3), dtype=np.uint8)
    embeddings = embedder.embed(pixels)
    assert embeddings.shape == (3, embedder.recipe.dimensions)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(embedder.embed(pixels[1:2])[0], embeddings[1])
    assert embedder.embed(pixels[:0]).shape == (0, 16)
