"""Embeddings: the `Embedder` protocol, recipes, and InceptionV3."""

from imgclust.embedding.protocol import Embedder
from imgclust.embedding.recipe import Recipe, recipe_of

__all__ = ["Embedder", "Recipe", "recipe_of"]
