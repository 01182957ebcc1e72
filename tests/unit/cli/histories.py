"""A session whose history a gateway serves page by page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from tests.unit.cli.gateway import AS_ALICE, Json
from tests.unit.cli.shell import Shell

SESSION = "d:alice:bob"
BEGIN_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000


def message(seq: int, **fields: object) -> Json:
    """One an hour."""
    made: Json = {"message_id": str(2**62 + seq), "session_id": SESSION, "seq": seq, "sender_id": "bob"}
    made |= {"client_msg_id": f"m-{seq}", "at": BEGIN_MS + seq * HOUR_MS, "kind": "text", "body": {"text": f"n{seq}"}}
    return {**made, **fields}


class Served:
    """Messages in pages of at most `most`. `fails_at`: the call that is refused for good."""

    def __init__(self, messages: Sequence[Json], most: int = 3, fails_at: int = 0) -> None:
        self.messages = messages
        self.calls: list[dict[str, str]] = []
        self._most = most
        self._fails_at = fails_at

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == f"/v1/sessions/{SESSION}/messages"
        asked = dict(request.url.params)
        self.calls.append(asked)
        if len(self.calls) == self._fails_at:
            return httpx2.Response(404, json={"code": "session_not_found", "detail": "no such session"})
        limit = min(int(asked["limit"]), self._most)
        if "after_seq" not in asked and "at" not in asked:
            page, more = self.messages[-limit:], len(self.messages) > limit
        else:
            after_seq, at = int(asked.get("after_seq", 0)), int(asked.get("at", 0))
            left = [one for one in self.messages if one["seq"] > after_seq and one["at"] >= at]
            page, more = left[:limit], len(left) > limit
        head_seq = self.messages[-1]["seq"] if self.messages else 0
        return httpx2.Response(200, json={"messages": page, "head_seq": head_seq, "has_more": more})


SEVEN = [
    *(message(seq) for seq in range(1, 6)),
    message(6, reply_to=2, mentions=["carol", "dora"]),
    message(7, kind="custom", body={"type": "poll", "data": [1.5, 2**63, "你好 \u2028"]}),
]


def exported(shell: Shell, path: Path, kind: str) -> None:
    """SEVEN, in a file of this kind."""
    ended = shell.run("export", *AS_ALICE, "--session", SESSION, "--format", kind, "--out", str(path))
    assert ended == (0, f"7 messages in {path}\n", "")
    assert list(path.parent.iterdir()) == [path]
