"""k-means over embeddings: fits, sweeps, the choice of k, assignment, lasting ids.

Arrays in, frozen results out; nothing here knows a catalog or a setting.
"""

from imgclust.clustering.assign import assign
from imgclust.clustering.describe import coherence, medoid, nearest_clusters, representatives
from imgclust.clustering.fit import Fit, fit
from imgclust.clustering.knee import Suggestion, suggest
from imgclust.clustering.match import Matching, match
from imgclust.clustering.sweep import Sweep, default_k_max, sweep

__all__ = [
    "Fit",
    "Matching",
    "Suggestion",
    "Sweep",
    "assign",
    "coherence",
    "default_k_max",
    "fit",
    "match",
    "medoid",
    "nearest_clusters",
    "representatives",
    "suggest",
    "sweep",
]
