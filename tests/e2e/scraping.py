"""What Prometheus would see of a stack."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deploy.local.stack import Stack, split

# A hang, and not a slow machine.
_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer of a process."""

    samples: tuple[Sample, ...]
    took_s: float

    def values(self, name: str, **labels: str) -> list[float]:
        """The values of a metric's series that have these labels."""
        return [one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()]


Scrapes = Mapping[str, Scrape]


def total(scrapes: Scrapes, name: str, **labels: str) -> float:
    """The sum over all processes and series."""
    return sum(value for one in scrapes.values() for value in one.values(name, **labels))


async def scraped(stack: Stack) -> Scrapes:
    """All services that have metrics, at once, by process."""
    names = [name for name in stack.counts.names() if split(name)[0] != "echo"]
    async with httpx2.AsyncClient(timeout=_WITHIN_S) as http:
        answers = await asyncio.gather(*(_scrape(http, stack, name) for name in names))
    return dict(zip(names, answers, strict=True))


async def _scrape(http: httpx2.AsyncClient, stack: Stack, name: str) -> Scrape:
    kind, ordinal = split(name)
    began_s = time.perf_counter()
    answer = await http.get(f"http://127.0.0.1:{stack.ports.admin(kind, ordinal)}/metrics")
    took_s = time.perf_counter() - began_s
    families = text_string_to_metric_families(answer.raise_for_status().text)
    return Scrape(tuple(sample for family in families for sample in family.samples), took_s)
