"""Writes `docs/metrics.md` from the metrics that the services register."""

import importlib
import pkgutil
from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import api_manager
import asterisk_proxy
import call_manager
import evercall
import flow_manager
import media_manager
import route_manager
from media_manager.domain.counts import Counts
from media_manager.inner.leg import InnerSocket
from media_manager.metrics import MediaCollector

HEAD = """# Metrics

Written from the registered metrics by `make docs`. Every service serves them at `/metrics` of its health port, for
Prometheus. No label holds an id of a call, a customer or a person."""


def render() -> str:
    """The whole page."""
    _import_all()
    lines = [HEAD, "", "| metric | kind | meaning | labels |", "|---|---|---|---|"]
    for name, kind, meaning, labels in sorted([*_metrics(), *_collected()]):
        lines.append(f"| `{name}` | {kind} | {meaning} | {labels} |")
    return "\n".join(lines) + "\n"


def _import_all() -> None:
    packages = (
        api_manager,
        asterisk_proxy,
        call_manager,
        flow_manager,
        media_manager,
        route_manager,
        evercall,
    )
    for package in packages:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and ".migrations" not in module.name:
                importlib.import_module(module.name)


def _metrics() -> Iterable[tuple[str, str, str, str]]:
    for collector in list(REGISTRY._collector_to_names):
        if not isinstance(collector, MetricWrapperBase):
            continue
        for metric in collector.describe():
            suffix = "_total" if metric.type == "counter" else ""
            labels = ", ".join(f"`{name}`" for name in collector._labelnames)
            yield f"{metric.name}{suffix}", metric.type, metric.documentation, labels


def _collected() -> Iterable[tuple[str, str, str, str]]:
    """Of those that are made at the moment somebody asks, and that only a running process registers."""
    socket = cast("InnerSocket", SimpleNamespace(strays=0, dropped=0, overrun=0))
    for metric in MediaCollector(Counts(), socket, dict, float).describe():
        suffix = "_total" if metric.type == "counter" else ""
        labels = ", ".join(f"`{name}`" for name in getattr(metric, "_labelnames", ()))
        yield f"{metric.name}{suffix}", metric.type, metric.documentation, labels
