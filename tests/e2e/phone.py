"""A device that keeps PROTOCOL's client rules through anything: receiving as benchmarks/device.py, and besides
reconnecting, retrying with the same client_msg_id, and moving to another gateway."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import jwt
import msgspec

from benchmarks.device import Device, Frame
from benchmarks.socket_client import connect
from deploy.local.probes import HOST

TICK_S = 0.1
# PROTOCOL, Retry and Receiving.
ANSWER_S = 5.0
MOST_WAIT_S = 30.0
MAX_RETRIES = 8
LIVE_S = 10.0
SILENCE_S = 40.0


class _Kind(msgspec.Struct):
    """What the connection itself looks at in a frame."""

    type: str
    reconnect_after_ms: int = 0


_kinds = msgspec.json.Decoder(_Kind)


@dataclass(slots=True)
class Try:
    """A message without an answer. `failed` tries so far; the next is due at `again_at` (None: one is under way)."""

    frame: dict[str, object]
    failed: int = 0
    sent_at: float = 0.0
    again_at: float | None = 0.0


def wait_s(repeat: int) -> float:
    """2^i seconds ± 20 %, at most 30."""
    return min(MOST_WAIT_S, 2.0**repeat * random.uniform(0.8, 1.2))


class Phone:
    """One device of one user; `run` keeps it connected until it is cancelled."""

    def __init__(self, user_id: str, device_id: str, key: str, ports: Sequence[int]) -> None:
        """`ports` of the gateways, the first choice first; `key` signs development tokens."""
        self.device = Device(user_id, self._on_answer)
        self.device_id = device_id
        self.on_acked: Callable[[Frame, float], None] = _ignore
        self.failed: list[str] = []
        self._key = key
        self._ports = ports
        self._unanswered: dict[str, Try] = {}
        self._signed_in_at = 0.0
        self._heard_at = 0.0
        self._failures = 0
        self._ended = asyncio.Event()

    @property
    def user_id(self) -> str:
        """Whose device it is."""
        return self.device.user_id

    @property
    def is_live(self) -> bool:
        """Whether everything is pushed from now on."""
        return self.device.is_live

    @property
    def unanswered(self) -> int:
        """Messages that may or may not be stored."""
        return len(self._unanswered)

    def send(self, frame: dict[str, object]) -> None:
        """Send it now or, without a connection, as soon as there is one."""
        self._unanswered[str(frame["client_msg_id"])] = attempt = Try(frame)
        if self._signed_in_at:
            self._transmit(attempt, time.perf_counter())

    async def run(self) -> None:
        """Connected, again and again."""
        attempts = 0
        while True:
            port = self._ports[attempts % len(self._ports)]
            with suppress(OSError, TimeoutError):
                await self._converse(port)
            self._disconnected(time.perf_counter())
            attempts += 1
            await asyncio.sleep(wait_s(self._failures))
            self._failures += 1

    async def _converse(self, port: int) -> None:
        self._ended.clear()
        client = await connect(HOST, port, self._on_text, lambda _: self._ended.set())
        try:
            self.device.client = client
            self._heard_at = time.perf_counter()
            now_s = int(time.time())
            claims = {"sub": self.user_id, "aud": "tidings", "iat": now_s, "exp": now_s + 3600}
            token = jwt.encode(claims, self._key, algorithm="HS256")
            client.send(msgspec.json.encode({"type": "hello", "token": token, "device_id": self.device_id}))
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), TICK_S)
                self._tick(time.perf_counter())
        finally:
            client.close()

    def _on_text(self, data: bytes) -> None:
        self._heard_at = now = time.perf_counter()
        for line in data.split(b"\n"):
            if line:
                kind = _kinds.decode(line)
                if kind.type == "welcome":
                    self._welcome(now)
                elif kind.type == "goaway":
                    self._ended.set()
        self.device.text(data)

    def _welcome(self, now: float) -> None:
        self._signed_in_at = now
        self._failures = 0
        for attempt in self._unanswered.values():
            self._transmit(attempt, now)

    def _disconnected(self, now: float) -> None:
        self._signed_in_at = 0.0
        self.device.client = None
        self.device.is_live = False
        for attempt in self._unanswered.values():
            if attempt.again_at is None:
                self._failed(attempt, now)

    def _tick(self, now: float) -> None:
        if now - self._heard_at > SILENCE_S:
            self._ended.set()
        if not self._signed_in_at:
            return
        self.device.tick(now)
        if not self.is_live and now - self._signed_in_at > LIVE_S:
            self.device.is_live = True
            self.device.sync(now)
        for attempt in list(self._unanswered.values()):
            if attempt.again_at is None and now - attempt.sent_at > ANSWER_S:
                self._failed(attempt, now)
            elif attempt.again_at is not None and now >= attempt.again_at:
                self._transmit(attempt, now)

    def _transmit(self, attempt: Try, now: float) -> None:
        assert self.device.client is not None
        attempt.sent_at, attempt.again_at = now, None
        self.device.client.send(msgspec.json.encode(attempt.frame | {"attempt": attempt.failed + 1}))

    def _failed(self, attempt: Try, now: float) -> None:
        attempt.again_at = now + wait_s(attempt.failed)
        attempt.failed += 1
        if attempt.failed > MAX_RETRIES:
            self._give_up(str(attempt.frame["client_msg_id"]), "no answer to any try")

    def _give_up(self, client_msg_id: str, reason: str) -> None:
        self._unanswered.pop(client_msg_id, None)
        self.failed.append(f"{client_msg_id}: {reason}")

    def _on_answer(self, frame: Frame, now: float) -> None:
        attempt = self._unanswered.get(frame.client_msg_id)
        if frame.type == "send_ack":
            self._unanswered.pop(frame.client_msg_id, None)
            self.on_acked(frame, now)
        elif attempt is not None and frame.code in ("unavailable", "timeout", "rate_limited"):
            self._failed(attempt, now)
        elif attempt is not None:
            self._give_up(frame.client_msg_id, frame.code)


def _ignore(frame: Frame, now: float) -> None:
    """Nobody asked."""
