"""Embeddings: the `Embedder` protocol, recipes, and InceptionV3."""

from imgclust.embedding.engine_selection import open_embedder, why_engine
from imgclust.embedding.graph_cache import agreement
from imgclust.embedding.inception_graph import InceptionV3Embedder, import_tensorflow
from imgclust.embedding.recipe import Embedder, Recipe, recipe_of

__all__ = [
    "Embedder",
    "InceptionV3Embedder",
    "Recipe",
    "agreement",
    "import_tensorflow",
    "open_embedder",
    "recipe_of",
    "why_engine",
]
