"""Generates the load in a separate process: an open loop, with latencies counted from the scheduled send.

Reads one JSON command per line from standard input, and answers each with one JSON
line: connect, run, idle, report, quit.
"""

import asyncio
import gc
import json
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import msgspec
import uvloop

from benchmarks.device import Device, Frame, Message
from benchmarks.socket_client import connect
from tests.unit.persister.builders import uuid7

_BODY = {"text": "x" * 512}
_TICK_S = 0.2
_ACKED_WITHIN_S = 1.0


def percentile(values: Sequence[float], share: float) -> float:
    """The percentile of times in seconds, in ms with two digits."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2) if ordered else -1.0


@dataclass
class Step:
    """The latencies of one step, in seconds."""

    due: dict[str, float] = field(default_factory=dict)
    acks: list[float] = field(default_factory=list)
    deliveries: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    late_sends: list[float] = field(default_factory=list)


class Generator:
    """Pairs of users with one direct session each."""

    def __init__(self, key: bytes, host: str) -> None:
        """`key` signs development tokens."""
        self._key = key
        self._host = host
        self._devices: list[Device] = []
        self._idle: list[Device] = []
        self._step = Step()
        self._acked: dict[str, dict[str, int]] = {}
        self._ticker: asyncio.Task[None] | None = None

    async def connect(self, port: int, sessions: int) -> dict[str, Any]:
        """Connect two users per session, and wait until all are live."""
        users = [f"u{number:05d}" for number in range(2 * sessions)]
        for start in range(0, len(users), 50):
            self._devices += await asyncio.gather(*(self._device(user, port) for user in users[start : start + 50]))
        for device in self._devices:
            device.on_message = self._on_message
        self._ticker = asyncio.create_task(self._tick())
        return {"connected": await self._live(self._devices)}

    async def idle(self, port: int, connections: int) -> dict[str, Any]:
        """Open connections that are idle after `live`."""
        for start in range(0, connections, 50):
            names = [f"idle{number:05d}" for number in range(start, min(connections, start + 50))]
            self._idle += await asyncio.gather(*(self._device(name, port) for name in names))
        return {"connected": await self._live(self._idle)}

    async def run(self, rate: float, seconds: float) -> dict[str, Any]:
        """Send at a rate, wait for the answers, and return the summary."""
        self._step = step = Step()
        count, start = int(rate * seconds), time.perf_counter() + 0.1
        for number in range(count):
            due = start + number / rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self._send(number, due)
            step.late_sends.append(time.perf_counter() - due)
        await self._settle(step, count)
        within = sum(value <= _ACKED_WITHIN_S for value in step.acks)
        return {
            "rate": rate,
            "sent": count,
            "acked": len(step.acks),
            "acked_within_1s": round(within / count, 5),
            "delivered": len(step.deliveries),
            "refused": step.refused[:5],
            "send_late_p99_ms": percentile(step.late_sends, 0.99),
            "ack_p50_ms": percentile(step.acks, 0.5),
            "ack_p99_ms": percentile(step.acks, 0.99),
            "delivery_p50_ms": percentile(step.deliveries, 0.5),
            "delivery_p99_ms": percentile(step.deliveries, 0.99),
        }

    def report(self, path: str) -> dict[str, Any]:
        """Write the acks and the messages of each device to a file, for the comparison with the tables."""
        seen = {device.user_id: {"cursor": device.cursor, "seen": device.seen} for device in self._devices}
        Path(path).write_text(json.dumps({"acked": self._acked, "devices": seen}))
        devices = self._devices + self._idle
        problems = [f"{device.user_id}: {what}" for device in devices for what in device.errors + device.ends]
        return {"problems": problems[:10], "problem_count": len(problems)}

    async def _device(self, user_id: str, port: int) -> Device:
        device = Device(user_id, self._on_ack)
        device.client = await connect(self._host, port, device.text, device.ends.append)
        now = int(time.time())
        claims = {"sub": user_id, "aud": "tidings", "iat": now, "exp": now + 86_400}
        token = jwt.encode(claims, self._key, algorithm="HS256")
        device.client.send(msgspec.json.encode({"type": "hello", "token": token, "device_id": "bench"}))
        return device

    async def _live(self, devices: Sequence[Device]) -> int:
        for _ in range(600):
            if all(device.is_live for device in devices):
                break
            await asyncio.sleep(0.1)
        return sum(device.is_live for device in devices)

    def _send(self, number: int, due: float) -> None:
        pair = number % (len(self._devices) // 2)
        sender, receiver = self._devices[2 * pair], self._devices[2 * pair + 1]
        if (number // (len(self._devices) // 2)) % 2:
            sender, receiver = receiver, sender
        client_msg_id = uuid7(int(time.time() * 1000), uuid.uuid4().int % 2**60)
        self._step.due[client_msg_id] = due
        frame = {"type": "send", "client_msg_id": client_msg_id, "to": receiver.user_id, "kind": "text", "body": _BODY}
        assert sender.client is not None
        sender.client.send(msgspec.json.encode(frame))

    def _on_ack(self, frame: Frame, now: float) -> None:
        due = self._step.due.get(frame.client_msg_id)
        if frame.type == "send_error":
            self._step.refused.append(frame.code)
        else:
            self._acked.setdefault(frame.session_id, {})[frame.client_msg_id] = frame.seq
            if due is not None:
                self._step.acks.append(now - due)

    def _on_message(self, message: Message, now: float) -> None:
        due = self._step.due.get(message.client_msg_id)
        if due is not None:
            self._step.deliveries.append(now - due)

    async def _settle(self, step: Step, count: int) -> None:
        for _ in range(150):
            if len(step.acks) + len(step.refused) >= count and len(step.deliveries) >= len(step.acks):
                return
            await asyncio.sleep(0.1)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S / 8)
            now = time.perf_counter()
            turn = int(now / (_TICK_S / 8)) % 8
            for device in self._devices[turn::8]:
                device.tick(now)


async def serve(generator: object) -> None:
    """Handle one command per line until `quit`."""
    gc.disable()  # the pauses of the garbage collector would count as latencies
    loop = asyncio.get_running_loop()
    while True:
        command = json.loads(await loop.run_in_executor(None, sys.stdin.readline) or '{"do": "quit"}')
        what = command.pop("do")
        if what == "quit":
            return
        answer = getattr(generator, what)(**command)
        result = await answer if asyncio.iscoroutine(answer) else answer
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(Generator(Path(sys.argv[1]).read_text().strip().encode(), sys.argv[2])))
