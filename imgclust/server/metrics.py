"""Metrics, as Prometheus reads them; no path and no name of a file is in their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from imgclust.errors import ImgclustError

if TYPE_CHECKING:
    from prometheus_client import Metric

    from imgclust.server.site import Site

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Stages from a small picture to a batch of RAW files, jobs from a name to a long sweep.
_STAGE_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_JOB_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_ANSWER_S = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# Reasons with a row of their own; the others are one.
_MOST_REASONS = 20


class Metrics:
    """The metrics of the service; may be used by several threads."""

    def __init__(self, site: Site) -> None:
        self._registry = CollectorRegistry()
        self._events = Counter(
            "imgclust_events", "What the watcher said, by kind.", ["kind"], registry=self._registry
        )
        self._stages = Histogram(
            "imgclust_stage_seconds",
            "Decoding of an image, embedding of a batch, commit.",
            ["stage"],
            buckets=_STAGE_S,
            registry=self._registry,
        )
        self._jobs = Histogram(
            "imgclust_job_seconds",
            "Jobs by command and how they ended.",
            ["command", "state"],
            buckets=_JOB_S,
            registry=self._registry,
        )
        self._answers = Histogram(
            "imgclust_answer_seconds",
            "Answers to requests, by method and class of status.",
            ["method", "status"],
            buckets=_ANSWER_S,
            registry=self._registry,
        )
        self._registry.register(_Collections(site))

    def event(self, kind: str) -> None:
        """The watcher said something."""
        self._events.labels(kind).inc()

    def took(self, stage: str, seconds: float) -> None:
        """A stage of the ingest took so long."""
        self._stages.labels(stage).observe(seconds)

    def job(self, command: str, state: str, seconds: float) -> None:
        """A job has ended."""
        self._jobs.labels(command, state).observe(seconds)

    def answer(self, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        known = method if method in {"GET", "HEAD", "POST"} else "other"
        self._answers.labels(known, f"{status // 100}xx").observe(seconds)

    def text(self) -> bytes:
        """All of them, in the format that Prometheus reads."""
        return generate_latest(self._registry)


class _Collections(Collector):
    """Reads the numbers of every collection when they are asked for."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        images = _gauge("images", "Images, and files that are not, by state.", "state")
        pending = _gauge("pending_oldest_seconds", "Age of the file that waits longest.")
        links = _gauge("links_queued", "Links to be made or removed.")
        clusters = _gauge("clusters", "Clusters.")
        drift = _gauge("drift_ratio", "Distance of arrivals to their centroids, against the fit.")
        failures = _gauge("quarantined", "Files that could not be read, by reason.", "reason")
        readable = _gauge("readable", "1 where the catalog can be read.")
        for name in self._site.names():
            try:
                with self._site.open(name) as collection:
                    found = collection.service.measures()
            except (ImgclustError, OSError):
                readable.add_metric([name], 0)
                continue
            readable.add_metric([name], 1)
            for state in ("present", "missing", "quarantined", "pending"):
                images.add_metric([name, state], getattr(found, state))
            pending.add_metric([name], found.oldest_pending_s)
            links.add_metric([name], found.unlinked)
            clusters.add_metric([name], found.clusters)
            if found.drift is not None:
                drift.add_metric([name], found.drift)
            often = sorted(found.failures.items(), key=lambda one: (-one[1], one[0]))
            for reason, number in often[:_MOST_REASONS]:
                failures.add_metric([name, reason], number)
            if often[_MOST_REASONS:]:
                rest = sum(number for _, number in often[_MOST_REASONS:])
                failures.add_metric([name, "any other"], rest)
        streams = GaugeMetricFamily("imgclust_streams", "Open streams of changes.")
        streams.add_metric([], self._site.streams)
        yield from (streams, images, pending, links, clusters, drift, failures, readable)


def _gauge(name: str, said: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"imgclust_{name}", said, labels=["collection", *labels])
