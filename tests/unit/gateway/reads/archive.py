"""A gateway's REST calls over tables of which some segments are cold or purged."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from services.gateway.reads.build import build_reads
from services.gateway.rest.app import rest_app
from services.gateway.rest.build import RestRules, build_calls
from tests.fakes.clock import FakeClock
from tests.fakes.cold import FakeCold
from tests.faults.store import FaultyStore
from tests.unit.gateway.asking import asked
from tests.unit.gateway.parts import identity_of, parts

RULES = RestRules(identity_of, None, "tidings", b"", {})
DIRECT = "d:alice:bob"
PLENTY_BYTES = 1_000_000


@dataclass
class Archive:
    store: FaultyStore = field(default_factory=FaultyStore)
    cold: FakeCold = field(default_factory=FakeCold)
    clock: FakeClock = field(default_factory=lambda: FakeClock(1_000))

    def __post_init__(self) -> None:
        self.reads = build_reads(self.store, self.clock, history_cache_bytes=PLENTY_BYTES, cold=self.cold)

    async def call(self, path: str, user: str = "bob") -> tuple[int, Any]:
        """The status and the body of a GET."""
        gateway = await parts(self.store, self.clock)
        app = rest_app(build_calls(self.reads, gateway.submit, gateway.media, self.clock, RULES))
        answer = await asked(app, "GET", path, [("authorization", f"Bearer {user}")])
        return answer.status, orjson.loads(answer.body)

    async def history(self, query: str = "", session_id: str = DIRECT, user: str = "bob") -> tuple[list[int], bool]:
        """The seqs of a page, and `has_more`."""
        status, page = await self.call(f"/v1/sessions/{session_id}/messages{query}", user)
        assert status == 200, page
        return [message["seq"] for message in page["messages"]], page["has_more"]
