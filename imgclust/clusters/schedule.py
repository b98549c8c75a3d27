"""Clusterings made without being asked: until a person clusters, or every so often."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from imgclust import devices
from imgclust.catalog.catalog import Catalog
from imgclust.clusters.model import ClusterResult
from imgclust.clusters.service import Recluster
from imgclust.config import Settings
from imgclust.errors import ImgclustError, StoppedError
from imgclust.numbers import recurrence
from imgclust.progress import SideWork, StopFlag

_log = logging.getLogger(__name__)


def is_due(
    *,
    contents: int,
    clustered: int | None,
    provisional: bool,
    empty: bool,
    over: bool,
    first_pass: bool,
    elapsed_s: float,
    settings: Settings,
    arrived: int = 0,
    waited_s: float = 0.0,
) -> bool:
    """Decide whether a clustering is to be made now.

    Parameters
    ----------
    contents
        How many contents are embedded.
    clustered
        How many the current clustering was fitted on, None when there is none.
    empty
        Nothing waits to be ingested.
    over
        The run ends here (`--once`), so that any number will do.
    first_pass
        The collection's first pass is not over yet.
    elapsed_s
        Seconds since this run began.
    arrived, waited_s
        Contents that came, and seconds that passed, since the last clustering.
    """
    rules = settings.clustering
    if not contents:
        return False
    if clustered is None:
        if over:
            return True
        if contents < rules.first_images:
            return False
        return empty or contents >= rules.early_images or elapsed_s >= rules.early_s
    images, seconds = recurrence(rules.recluster_every) or (None, None)
    if images is not None and arrived >= images:
        return True
    if seconds is not None and arrived and waited_s >= seconds:
        return True
    if not provisional:
        return False
    if contents >= rules.growth * clustered:
        return True
    return empty and first_pass and contents > clustered


class ArrivalCount:
    """Contents that are embedded, and those added since the last clustering.

    All of them are counted once; from then on only what has changed since the last look.
    """

    def __init__(self, catalog: Catalog, recipe: str) -> None:
        self._catalog = catalog
        self._recipe = recipe
        self._sequence = -1
        self._since = -1
        self.contents = 0
        self.arrived = 0
        self.last = 0.0

    def read(self) -> None:
        """Count what has changed."""
        with self._catalog.snapshot():
            contents = self._catalog.contents
            sequence = contents.sequence()
            self.last, since = self._catalog.clusterings.clustered_last()
            if self._sequence < 0:
                self.contents = contents.count(self._recipe)
            else:
                came, left = contents.counts_between(self._sequence, sequence)
                self.contents += came - left
                self.arrived += came
            if since != self._since:
                self.arrived, _ = contents.counts_between(since, sequence)
            self._sequence, self._since = sequence, since


class AutomaticClustering:
    """Starts the clusterings that are due, beside the ingest loop, on a catalog of its own.

    Parameters
    ----------
    make
        Puts a `Recluster` together on a catalog.
    tell
        Called with each result, by `__call__` or `close`.
    stop
        Ends a clustering in progress; one that does not end soon is left behind.
    clock
        Wall clock, in seconds: what is counted from outlasts this process.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        path: Path,
        recipe: str,
        settings: Settings,
        make: Callable[[Catalog], Recluster],
        tell: Callable[[ClusterResult], None],
        stop: StopFlag | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._path = path
        self._settings = settings
        self._make = make
        self._clock = clock
        self._work = SideWork(tell, name="clustering", stop=stop or StopFlag())
        self._began = time.monotonic()
        self._failed_at: int | None = None
        self._tally = ArrivalCount(catalog, recipe)

    def __call__(self, *, empty: bool, over: bool) -> None:
        """Look whether a clustering is due; with `over` it is made before this returns."""
        if over:
            self.close()
        self._work.report()
        if empty:  # what counts is how long the pass that is on has lasted
            self._began = time.monotonic()
        if self._work.running:
            return
        clustered, provisional = self._catalog.clusterings.current_fit() or (None, False)
        every = self._settings.clustering.recluster_every
        if clustered is not None and not provisional and every == "off":
            return
        self._tally.read()
        contents = self._tally.contents
        first_pass = not self._catalog.setting("first_pass_over")
        due = contents != self._failed_at and is_due(
            contents=contents,
            clustered=clustered,
            provisional=provisional,
            empty=empty,
            over=over,
            first_pass=first_pass,
            elapsed_s=time.monotonic() - self._began,
            settings=self._settings,
            arrived=self._tally.arrived,
            waited_s=self._clock() - self._tally.last,
        )
        if empty and first_pass and contents:
            with self._catalog.transaction():
                self._catalog.store("first_pass_over", True)
        if due:
            self._work.start(partial(self._run, contents))
            if over:
                self.close()

    def close(self) -> None:
        """Wait for a clustering in progress, unless it is to stop but continues."""
        self._work.finish()

    def _run(self, contents: int) -> None:
        settings = self._settings.clustering
        try:
            with Catalog(self._path) as catalog:
                before = catalog.clusterings.current()
                # The number that a person gave is kept until they give another one.
                given = before is not None and before.chosen_by == "user"
                result = self._make(catalog).cluster(
                    k=str(before.k) if before is not None and given else settings.k,
                    seed=settings.seed,
                    chosen_by="user" if given else "config",
                    provisional=before is None or before.provisional,
                    automatic=True,
                )
        except StoppedError as error:  # the next watcher starts unfinished work again
            _log.debug("no automatic clustering: %s", error)
        except ImgclustError as error:  # images are stored; tried again when it grows
            self._failed_at = contents
            _log.warning("no automatic clustering: %s", error)
        except Exception:  # a fault of ours must not end the watcher either
            self._failed_at = contents
            _log.exception("the automatic clustering failed")
        else:
            self._work.put(result)
        devices.give_back_memory()
