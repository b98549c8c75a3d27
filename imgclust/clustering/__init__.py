"""k-means over embeddings: fits, sweeps, the choice of k, assignment, lasting ids.

Arrays in, frozen results out; nothing here knows a catalog or a setting.
"""

from imgclust.clustering.arrived_groups import met_clusters, neighbours_among, new_groups
from imgclust.clustering.burst_groups import BurstRule, Representatives, burst_rule, group_bursts
from imgclust.clustering.choose_k import (
    Suggestion,
    largest_compared,
    preferred,
    suggest,
    suggest_counted,
    suggest_from,
)
from imgclust.clustering.cluster_stats import coherence, medoid, nearest_clusters, representatives
from imgclust.clustering.constraints import (
    Constraints,
    Demands,
    UnsatisfiableError,
    can_be_satisfied,
    constrained_fit,
    contracted,
    is_nowhere,
    nowhere,
    satisfied,
    smallest_conflict,
)
from imgclust.clustering.drift_test import (
    Drift,
    Spread,
    drift,
    left_out,
    outlier_limits,
    pooled,
    spread,
)
from imgclust.clustering.group_count import GroupCount, estimate_group_count
from imgclust.clustering.id_map import Matching, follow, match, regrouped
from imgclust.clustering.k_sweep import Sweep, default_k_max, sweep
from imgclust.clustering.kmeans import Fit, all_distinct, assign, fit
from imgclust.clustering.pair_choice import Known, PairChoice, carried
from imgclust.clustering.smoother import (
    NEIGHBOURS,
    Smoothed,
    placed,
    smooth,
    smooth_in_place,
    without_own,
)
from imgclust.clustering.warm_start import Continued, coarser, continued, finer, resized

__all__ = [
    "NEIGHBOURS",
    "BurstRule",
    "Constraints",
    "Continued",
    "Demands",
    "Drift",
    "Fit",
    "GroupCount",
    "Known",
    "Matching",
    "PairChoice",
    "Representatives",
    "Smoothed",
    "Spread",
    "Suggestion",
    "Sweep",
    "UnsatisfiableError",
    "all_distinct",
    "assign",
    "burst_rule",
    "can_be_satisfied",
    "carried",
    "coarser",
    "coherence",
    "constrained_fit",
    "continued",
    "contracted",
    "default_k_max",
    "drift",
    "estimate_group_count",
    "finer",
    "fit",
    "follow",
    "group_bursts",
    "is_nowhere",
    "largest_compared",
    "left_out",
    "match",
    "medoid",
    "met_clusters",
    "nearest_clusters",
    "neighbours_among",
    "new_groups",
    "nowhere",
    "outlier_limits",
    "placed",
    "pooled",
    "preferred",
    "regrouped",
    "representatives",
    "resized",
    "satisfied",
    "smallest_conflict",
    "smooth",
    "smooth_in_place",
    "spread",
    "suggest",
    "suggest_counted",
    "suggest_from",
    "sweep",
    "without_own",
]
