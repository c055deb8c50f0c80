"""How a metric family is made from its samples: the building blocks of :mod:`.families`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]
Name = TypeVar("Name", bound=str)


def gauge(name: str, text: str, labels: Labels, samples: Samples) -> Metric:
    """Return a gauge."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def counter(name: str, text: str, labels: Labels, samples: Samples) -> Metric:
    """Return a counter; its samples get the suffix ``_total``."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def single(name: str, text: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return gauge(name, text, (), [((), value)])


def by_name(values: Mapping[Name, float]) -> Samples:
    """Return one sample per name."""
    return [((key,), value) for key, value in values.items()]
