"""Weights: ImageNet's, the trunk's, or a file's; verified before use, never half-kept."""
