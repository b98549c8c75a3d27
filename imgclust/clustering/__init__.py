"""k-means over embeddings: fits, sweeps, the choice of k, assignment, lasting ids.

Arrays in, frozen results out; nothing here knows a catalog or a setting.
"""
