"""The results of the archive benchmark as a table, with what issue 14 asks for."""

from collections.abc import Iterator
from typing import Any, NamedTuple

# A page may cost so much more for ten times the messages, as a part of the p50 in the smallest sessions.
_FLAT_PER_DECADE = 0.1


class _Goal(NamedTuple):
    """A figure and its bound. `is_least`: the figure has to be the bound or more."""

    what: str
    value: float
    bound: float
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.value >= self.bound if self.is_least else self.value <= self.bound


def met(results: dict[str, Any]) -> dict[str, bool]:
    """Whether each goal is reached."""
    return {goal.what: goal.is_met for goal in _goals(results)}


def lines(results: dict[str, Any]) -> Iterator[str]:
    """The table, for people."""
    bare = results["pages"]["bare_call"]["p50_ms"]
    yield f"{'figure':<52} {'measured':>10} {'goal':>10}"
    for goal in _goals(results):
        sign = ">=" if goal.is_least else "<="
        state = "" if goal.is_met else "  missed"
        yield f"{goal.what:<52} {goal.value:>10} {sign + ' ' + str(goal.bound):>10}{state}"
    yield f"a call that reads no table: p50 {bare} ms; one row: {results['pages']['one_row']['p50_ms']} ms"
    for kind, one in results["pages"]["growth"].items():
        sizes = ", ".join(f"{int(size):,}: {found['p50_ms']}" for size, found in one["by_size"].items())
        yield f"{kind} page by messages of the session, p50 ms: {sizes}"


def _goals(results: dict[str, Any]) -> list[_Goal]:
    pages, cold, archiver = results["pages"], results["cold_pages"], results["archiver"]
    sizes = results["bytes_per_message"]
    ratios = results["foreground"]["ratios"]
    return [
        _Goal("newest page, warm, p50 ms", pages["newest_warm"]["p50_ms"], 5),
        _Goal("hot page, not cached, p50 ms", pages["uncached"]["p50_ms"], 15),
        _Goal("page 10,000 messages back, p50 ms", pages["10000_back"]["p50_ms"], 15),
        _Goal("first page of a cold segment, p50 ms", cold["first_page"]["p50_ms"], 120),
        _Goal("further page of a cold segment, p50 ms", cold["further"]["p50_ms"], 10),
        *(
            _Goal(f"{kind} page, growth of p50 per decade of messages", one["p50_per_decade"], _FLAT_PER_DECADE)
            for kind, one in pages["growth"].items()
        ),
        *(
            _Goal(f"archiver, {name} sessions, messages/s", archiver[name]["messages_per_s"], 20_000, is_least=True)
            for name in ("busy", "quiet")
        ),
        *(
            _Goal(f"archiver, {name} sessions, peak memory MiB", archiver[name]["peak_resident_mib"], 300)
            for name in ("busy", "quiet")
        ),
        *(
            _Goal(f"ack p99 with the archiver, {name}, ratio", ratio["ack_p99_ms"]["median"], 2)
            for name, ratio in ratios.items()
        ),
        _Goal("cold bytes to hot bytes of a message", sizes["cold_busy_to_hot"], 0.25),
    ]
