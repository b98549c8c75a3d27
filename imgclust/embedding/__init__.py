"""Embeddings: the `Embedder` protocol, recipes, and InceptionV3."""
