"""How many clusters: as asked, as a sweep suggests, or as many as there are.

The last changes only where another number is better by more than chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.projections import StoredSweep
from imgclust.clustering.choose_k import clearest, suggest_counted
from imgclust.clustering.constraints import Constraints
from imgclust.clustering.group_count import GroupCount, estimate_group_count
from imgclust.clustering.k_sweep import default_k_max
from imgclust.clustering.warm_start import coarser, finer
from imgclust.clusters.feature_space import Space
from imgclust.clusters.stored_sweeps import different_rows, stored_sweep
from imgclust.errors import UsageError
from imgclust.progress import Progress, StopFlag
from imgclust.wording import counted

# Of more contents it is not counted how many differ.
_MANY = 5000
# The setting of a catalog that holds what was counted last.
_COUNTED = "group_count"


def requested_count(number: int, named: int, *, strict: bool, lasting: int = 0) -> tuple[int, str]:
    """The number of clusters that was asked for, at least that of the named ones.

    And of those that are `lasting`, since people put images into them.

    With it a sentence that says why it is another number; empty when it is that number.

    Raises
    ------
    UsageError
        When it is less (`strict`) than the number of named clusters.
    """
    if number >= named + lasting:
        return number, ""
    if lasting and strict:
        about = f"the {counted(named, 'named cluster')} and " if named else ""
        raise UsageError(
            f"k = {number} is less than {about}the {lasting} that images were put into; use "
            f"{named + lasting} or more, or see imgclust clusters corrections"
        )
    if lasting:
        named += lasting
        return named, f"k = {number} raised to {named}, the number of clusters that are to stay"
    if strict:
        stay = "which stays as it is" if named == 1 else "which stay as they are"
        raise UsageError(
            f"k = {number} is less than the {counted(named, 'named cluster')}, {stay}; use "
            f"{named} or more, or release some: imgclust clusters name ID --release"
        )
    return named, f"k = {number} raised to {named}, the number of named clusters"


def suggested_count(stored: StoredSweep, named: int) -> tuple[int, str, str]:
    """The k of a sweep, at least the number of named clusters, who chose it, and why."""
    number, sentence = int(stored.summary["chosen"]), str(stored.summary["sentence"])
    return _raised(number, str(stored.summary["chosen_by"]), sentence, named)


def clear_count(
    counted: GroupCount, n: int, named: int, *, k_min: int, k_max: int | None
) -> tuple[int, str, str] | None:
    """The number of groups of n rows, at least that of the named clusters, who chose it, and why.

    None where groups are not clear: then a sweep says more.
    """
    last = min(n, k_max or default_k_max(n))
    found = suggest_counted(counted, k_min=min(k_min, last), k_max=last)
    return None if found is None else _raised(found.chosen, found.chosen_by, found.sentence, named)


def _raised(number: int, chosen_by: str, sentence: str, named: int) -> tuple[int, str, str]:
    if number < named:
        sentence += f"; raised to {named}, the number of named clusters"
    return max(number, named), chosen_by, sentence


def continued_count(
    catalog: Catalog,
    space: Space,
    now: int,
    *,
    least: int,
    k_max: int | None,
    recipe: str,
    seed: int,
    progress: Progress,
    stop: StopFlag,
) -> tuple[int, str, str] | None:
    """The k of clusters that continue `now` ones, `least` or more, who chose it, and why.

    It is another one only where that is better by more than chance. None where groups are not
    counted, or where they are not clear and there is one cluster: then a sweep says more.
    """
    if space.leaders is None:
        return None
    counted = counted_groups(catalog, space, recipe=recipe, seed=seed, progress=progress, stop=stop)
    if counted.k is None and now == 1:
        return None
    if counted.clearly_better(now):
        assert counted.k is not None
        number = counted.k
        sentence = f"{clearest(counted)}, and clearly better than {now}"
    else:
        number = now
        sentence = (
            "no clear structure" if counted.k is None else f"{counted.k} is not clearly better"
        )
        if counted.k == now:
            sentence = clearest(counted)
        sentence = f"as before; {sentence}"
    chosen = max(least, min(number, k_max or number))
    if chosen != number:
        sentence = f"as the settings and what people said allow, not {number}"
    return chosen, "groups", f"k = {chosen}: {sentence}"


def counted_groups(
    catalog: Catalog,
    space: Space,
    *,
    recipe: str,
    seed: int,
    progress: Progress,
    stop: StopFlag,
) -> GroupCount:
    """How many groups there are; what was counted of the same contents is taken."""
    stored = stored_sweep(catalog, space, recipe=recipe, seed=seed)
    if stored is not None and stored.summary.get("ratios"):
        return _of_ratios(stored.summary["groups"], stored.summary["ratios"])
    leaders = b"" if space.leaders is None else space.leaders.tobytes()
    contents = hashlib.sha256(space.keys.tobytes() + leaders).hexdigest()
    asked = {"recipe": recipe, "sequence": space.sequence, "contents": contents, "seed": seed}
    last = catalog.setting(_COUNTED)
    if last is not None and last["asked"] == asked:
        return _of_ratios(last["groups"], last["ratios"])
    rows = different_rows(space)
    found = estimate_group_count(
        space.vectors, space.keys, rows=rows, seed=seed, progress=progress, stop=stop
    )
    with catalog.transaction():
        catalog.store(_COUNTED, {"asked": asked, "groups": found.k, "ratios": found.ratios})
    return found


def _of_ratios(k: int | None, ratios: Sequence[float]) -> GroupCount:
    kept = tuple(float(one) for one in ratios)
    return GroupCount(k, max(kept[1:], default=1.0), kept)


def with_steps(sentence: str, k: int, *, least: int, most: int) -> str:
    """The sentence with what a step in either direction would give: `least` to `most` clusters."""
    steps = []
    if k > least:
        steps.append(f"--coarser gives {max(coarser(k), least):,}")
    if k < most:
        steps.append(f"--finer gives {min(finer(k), most):,}")
    return "; ".join([sentence, ", ".join(steps)] if steps else [sentence])


def most_clusters(space: Space, given: Constraints) -> int:
    """How many clusters steps can make: frozen ones are not divided, equal points neither."""
    free = space.points[~np.isin(space.keys, given.contents)]
    if len(free) > _MANY:  # more than anyone takes steps to
        return len(given.kept) + len(free)
    return len(given.kept) + len(np.unique(free, axis=0))
