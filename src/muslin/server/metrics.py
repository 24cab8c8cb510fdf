"""What the server counts about itself, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """One registry for each server, so that two in one process (tests, labs) do not mix."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "muslin_server_requests_total", "Requests answered.", ["method", "resource", "code"], registry=registry)
        self.seconds = Histogram(
            "muslin_server_request_seconds", "Time to answer, streams left out.", ["method"], buckets=_QUICK,
            registry=registry)
        self.watches = Gauge("muslin_server_watches", "Open watches.", ["resource"], registry=registry)
        self.feeds = Gauge("muslin_server_feeds", "Hosts that are connected.", registry=registry)
        self.frames = Counter("muslin_server_feed_frames_total", "Deltas sent to hosts.", registry=registry)
        self.frame_bytes = Counter("muslin_server_feed_bytes_total", "Bytes of deltas sent to hosts.",
                                   registry=registry)
        self.dropped = Counter("muslin_server_feeds_dropped_total", "Hosts dropped because they were too slow.",
                               registry=registry)
        self.flush = Histogram("muslin_server_flush_seconds", "Time to compute what hosts must do.", buckets=_QUICK,
                               registry=registry)
        self.revision = Gauge("muslin_server_revision", "Store revision up to which hosts were told.",
                              registry=registry)
        self.objects = Gauge("muslin_server_objects", "Objects in the calculation.", ["kind"], registry=registry)
        self.faults = Gauge("muslin_server_faults", "Stored objects that are wrong.", registry=registry)

    @contextmanager
    def watching(self, resource: str) -> Iterator[None]:
        gauge = self.watches.labels(resource)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    @contextmanager
    def timed(self, histogram: Histogram) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            histogram.observe(time.perf_counter() - start)

    def text(self) -> bytes:
        return generate_latest(self._registry)
