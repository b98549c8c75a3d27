"""Projections: PCA and t-SNE as immutable values that place new vectors and go to bytes."""
