"""Times pages of history through REST, one call at a time."""

import http.client
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.archive_rows import SEGMENT_ROWS, FilledSession
from benchmarks.generator import percentile

LIMIT = 50
# Blocks of the gateway's cache have 64 seqs. A page from the 40th seq of a block on needs two of them, as most do, and
# no page needs a block of another one.
_APART, _WITHIN = 128, 40
# Pages of each kind.
PAGES = 120


class PageClient:
    """One connection to a gateway."""

    def __init__(self, port: int) -> None:
        """Connects with the first call."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._tokens: dict[str, str] = {}

    def page(self, session: FilledSession, last_seq: int) -> float:
        """The seconds of the page that ends with this seq. Raises RuntimeError if it is another one."""
        bound = "" if last_seq == session.messages else f"&before_seq={last_seq + 1}"
        path = f"/v1/sessions/{session.session_id}/messages?limit={LIMIT}{bound}"
        took_s, status, body = self._get(path, session.users[0])
        seqs = [message["seq"] for message in json.loads(body).get("messages", ())]
        if status != 200 or seqs != list(range(max(1, last_seq - LIMIT + 1), last_seq + 1)):
            raise RuntimeError(f"GET {path} was {status} with seqs {seqs}: {body[:300]!r}")
        return took_s

    def call(self, path: str, status: int) -> float:
        """The seconds of any GET with this answer."""
        took_s, got, body = self._get(path, "caller")
        if got != status:
            raise RuntimeError(f"GET {path} was {got}: {body[:300]!r}")
        return took_s

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _get(self, path: str, user_id: str) -> tuple[float, int, bytes]:
        if user_id not in self._tokens:
            self._tokens[user_id] = self._token_of(user_id)
        headers = {"Authorization": f"Bearer {self._tokens[user_id]}"}
        begun = time.perf_counter()
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        return time.perf_counter() - begun, answer.status, body

    def _token_of(self, user_id: str) -> str:
        self._connection.request("POST", "/v1/tokens", json.dumps({"user_id": user_id}).encode())
        return str(json.loads(self._connection.getresponse().read())["token"])


Place = tuple[FilledSession, int]


def places(session: FilledSession, first_seq: int, last_seq: int, count: int) -> list[Place]:
    """Last seqs of up to `count` pages within a range of seqs, spread evenly. No two pages share a block."""
    begin = math.ceil((first_seq - 1) / _APART) * _APART + _WITHIN
    found = range(begin + LIMIT - 1, last_seq + 1, _APART)
    if len(found) > count:
        found_at = [found[number * len(found) // count] for number in range(count)]
        return [(session, seq) for seq in found_at]
    return [(session, seq) for seq in found]


def timed(client: PageClient, pages: Iterable[Place]) -> dict[str, Any]:
    """The times of these pages."""
    return summary([client.page(*place) for place in pages])


def summary(took_s: Sequence[float]) -> dict[str, Any]:
    """p50 and p99 in ms."""
    return {"pages": len(took_s), "p50_ms": percentile(took_s, 0.5), "p99_ms": percentile(took_s, 0.99)}


def bare_calls(client: PageClient) -> dict[str, Any]:
    """What a call costs that reads no table, and one that reads one row."""
    refused: Callable[[], float] = lambda: client.call("/v1/sessions/none/messages", 400)  # noqa: E731
    blocks: Callable[[], float] = lambda: client.call("/v1/blocks", 200)  # noqa: E731
    calls = {"bare_call": refused, "one_row": blocks}
    return {name: summary([call() for _ in range(2 * PAGES)]) for name, call in calls.items()}


def hot_pages(client: PageClient, many: Sequence[FilledSession], large: FilledSession) -> dict[str, Any]:
    """Pages of hot messages: the newest ones of `many` sessions, and some of a large one.

    Pages that are not cached are of other ranges than those of `growth`.
    """
    newest = [(session, session.messages) for session in many]
    for place in newest:
        client.page(*place)
    back = large.messages - SEGMENT_ROWS
    return {
        "newest_warm": timed(client, newest),
        "uncached": timed(client, places(large, large.messages // 4, large.messages // 2, PAGES)),
        "10000_back": timed(client, places(large, back - 2 * PAGES * _APART, back, 2 * PAGES)),
    }


def growth(client: PageClient, by_size: Mapping[int, Sequence[FilledSession]]) -> dict[str, Any]:
    """The same pages in sessions of different sizes, in random order, and the slope of each kind.

    `newest`: warm. `middle` and `deep` (the first tenth, or the first pages of the smallest ones): not cached.
    """
    wanted: list[tuple[str, int, Place]] = []
    for size, sessions in by_size.items():
        count = math.ceil(PAGES / len(sessions))
        for session in sessions:
            kinds = {
                "newest": [(session, size)] * count,
                "middle": places(session, size // 2, size * 9 // 10, count),
                "deep": places(session, 1, max(size // 10, size // 2 - LIMIT if size < SEGMENT_ROWS else 0), count),
            }
            wanted += [(kind, size, place) for kind, pages in kinds.items() for place in pages]
            client.page(session, size)
    random.Random(1).shuffle(wanted)
    took_s: dict[str, dict[int, list[float]]] = {}
    for kind, size, place in wanted:
        took_s.setdefault(kind, {}).setdefault(size, []).append(client.page(*place))
    return {kind: _growth_of(times) for kind, times in sorted(took_s.items())}


def _growth_of(took_s: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    by_size = {size: summary(times) for size, times in sorted(took_s.items())}
    decades = [math.log10(size) for size in by_size]
    p50s_ms = [one["p50_ms"] for one in by_size.values()]
    slope_ms = statistics.linear_regression(decades, p50s_ms).slope
    return {
        "by_size": by_size,
        "p50_ms_per_decade": round(slope_ms, 3),
        "p50_per_decade": round(slope_ms / p50s_ms[0], 3),
    }


def cold_pages(client: PageClient, uncached: PageClient, archived: Sequence[FilledSession]) -> dict[str, Any]:
    """Pages of cold segments. `uncached`: of a gateway that keeps no object, so each page of it fetches one."""
    pages = [
        place
        for session in archived
        for place in places(session, 1, session.parts[0].messages, math.ceil(2 * PAGES / len(archived)))
    ]
    random.Random(1).shuffle(pages)
    objects_into_cache, first, further = pages[: PAGES // 4], pages[PAGES // 4 : PAGES], pages[PAGES:]
    # pyarrow is imported by the first read of a process, which `first_read` measures.
    uncached.page(*pages[0])
    for place in objects_into_cache:
        client.page(*place)
    return {"first_page": timed(uncached, [*objects_into_cache[1:], *first]), "further": timed(client, further)}


def first_read(client: PageClient, place: Place) -> float:
    """The ms of the first cold page after a start of the gateway, which also imports pyarrow."""
    client.call("/v1/blocks", 200)
    return round(client.page(*place) * 1000, 1)
