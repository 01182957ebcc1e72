"""Generates the load of the group benchmarks in a separate process: an open loop that counts every receiver's latency.

The format of commands and answers is that of generator.py. The commands are make, join, run, report,
befriend, sessions, unread, quit.
"""

import asyncio
import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import msgspec
import uvloop

from benchmarks.device import Device, Frame, Message
from benchmarks.generator import percentile, serve
from benchmarks.socket_client import connect
from tests.unit.persister.builders import uuid7

_BODY = {"text": "x" * 512}
_TICK_S = 0.2
_ADDED_AT_ONCE = 500
_SETTLE_S = 15.0


@dataclass
class Step:
    """The results of one step. Latencies are in seconds from the scheduled send."""

    due: dict[str, float] = field(default_factory=dict)
    acks: list[float] = field(default_factory=list)
    deliveries: list[float] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


class GroupGenerator:
    """Groups and their connected members."""

    def __init__(self, key: bytes, host: str) -> None:
        """`key` signs development tokens."""
        self._key = key
        self._host = host
        self._devices: dict[str, list[Device]] = {}
        self._step = Step()
        self._acked: dict[str, dict[str, int]] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._greeted: Counter[tuple[str, str]] = Counter()

    async def make(self, ports: list[int], name: str, members: int, admins: int = 8) -> dict[str, Any]:
        """Create a group with members `<name>00000`…. The first is its owner, and some admins add the others."""
        users = _users(name, members)
        first = users[1:_ADDED_AT_ONCE]
        made = await self._call(ports[0], users[0], "POST", "/v1/groups", name=name, members=first)
        session_id = made["session_id"]
        callers = [(user, port) for user in users[1 : 1 + admins] for port in ports]
        if members > _ADDED_AT_ONCE:
            for user in users[1 : 1 + admins]:
                path = f"/v1/groups/{session_id}/members/{user}"
                await self._call(ports[0], users[0], "PUT", path, role="admin")
        began = time.perf_counter()
        for number, start in enumerate(range(_ADDED_AT_ONCE, members, _ADDED_AT_ONCE)):
            caller, port = callers[number % len(callers)]
            path = f"/v1/groups/{session_id}/members"
            await self._call(port, caller, "POST", path, user_ids=users[start : start + _ADDED_AT_ONCE])
        return {"session_id": session_id, "adding_s": round(time.perf_counter() - began, 1)}

    async def join(self, ports: list[int], name: str, online: int) -> dict[str, Any]:
        """Connect the first `online` members to the gateways alternately, and wait for `live`."""
        devices = self._devices.setdefault(name, [])
        users = _users(name, online)
        for start in range(0, online, 50):
            chosen = list(enumerate(users))[start : start + 50]
            devices += await asyncio.gather(*(self._device(user, ports[n % len(ports)]) for n, user in chosen))
        for device in devices:
            device.on_message = self._on_message
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick())
        for _ in range(600):
            if all(device.is_live for device in devices):
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        return {"connected": sum(device.is_live for device in devices)}

    async def run(self, name: str, session_id: str, rate: float, seconds: float) -> dict[str, Any]:
        """Let the connected members write in turn at a rate. All other connected members should get each message."""
        self._step = step = Step()
        devices = self._devices[name]
        count, start = int(rate * seconds), time.perf_counter() + 0.1
        for number in range(count):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._send(devices[number % len(devices)], session_id, due)
        wanted = count * (len(devices) - 1)
        deadline = time.perf_counter() + _SETTLE_S
        while time.perf_counter() < deadline and (len(step.acks) < count or len(step.deliveries) < wanted):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        took_s = max([*step.last.values(), time.perf_counter() - _SETTLE_S]) - start
        return {
            "began_s": start,
            "rate": rate,
            "sent": count,
            "acked": len(step.acks),
            "refused": step.refused[:5],
            "deliveries_wanted": wanted,
            "deliveries": len(step.deliveries),
            "deliveries_per_s": round(len(step.deliveries) / max(took_s, seconds)),
            "ack_p50_ms": percentile(step.acks, 0.5),
            "delivery_p50_ms": percentile(step.deliveries, 0.5),
            "delivery_p99_ms": percentile(step.deliveries, 0.99),
            "everybody_p50_ms": percentile([step.last[name] - step.due[name] for name in step.last], 0.5),
        }

    async def sessions(self, port: int, user_id: str, limit: int, times: int) -> dict[str, Any]:
        """Measure lists of sessions one after the other, with a new message from a friend in between."""
        took = []
        for number in range(times):
            began = time.perf_counter()
            await self._call(port, user_id, "GET", f"/v1/sessions?limit={limit}")
            took.append(time.perf_counter() - began)
            await self._greet(port, _friend(user_id, number * 7), user_id)
            await asyncio.sleep(_TICK_S)
        return {"took_s": took}

    async def unread(self, port: int, user_id: str) -> dict[str, Any]:
        """Read all pages of the list. Returns the number of sessions, and those with a wrong unread count."""
        listed: list[dict[str, Any]] = []
        following: str | None = ""
        while following is not None:
            answer = await self._call(port, user_id, "GET", f"/v1/sessions?limit=200&before={following}")
            listed += answer["sessions"]
            following = answer.get("next")
        wrong = [one for one in listed if one["unread"] != self._greeted[one["peer"]["user_id"], user_id]]
        return {"listed": len({one["session_id"] for one in listed}), "wrong": wrong[:5]}

    async def befriend(self, port: int, user_id: str, sessions: int) -> dict[str, Any]:
        """Create `sessions` direct sessions for one user, each with one unread message."""
        others = [_friend(user_id, number) for number in range(sessions)]
        for start in range(0, sessions, 20):
            await asyncio.gather(*(self._greet(port, other, user_id) for other in others[start : start + 20]))
        return {"sessions": sessions}

    def report(self, name: str, session_id: str) -> dict[str, Any]:
        """The acks in the group, and the messages that each connected member has received, by inbox or push."""
        devices = {device.user_id: _seen(device, session_id) for device in self._devices[name]}
        return {"acked": self._acked.get(session_id, {}), "devices": devices}

    async def _greet(self, port: int, sender: str, receiver: str) -> None:
        client_msg_id = uuid7(int(time.time() * 1000), uuid.uuid4().int % 2**60)
        body = {"client_msg_id": client_msg_id, "to": receiver, "kind": "text", "body": {"text": "hello"}}
        await self._call(port, sender, "POST", "/v1/messages", **body)
        self._greeted[sender, receiver] += 1

    async def _call(self, port: int, user_id: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        if method != "GET":
            body.setdefault("client_msg_id", uuid7(int(time.time() * 1000), uuid.uuid4().int % 2**60))
        request = urllib.request.Request(
            f"http://{self._host}:{port}{path}",
            data=json.dumps(body).encode() if body else None,
            method=method,
            headers={"Authorization": f"Bearer {self._token(user_id)}", "Content-Type": "application/json"},
        )
        for _ in range(100):
            try:
                return await asyncio.to_thread(_answer, request)
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503, 504):
                    raise RuntimeError(f"{method} {path}: {error.code} {error.read()!r}") from None
                await asyncio.sleep(1)
        raise RuntimeError(f"{method} {path}: refused for 100 s")

    async def _device(self, user_id: str, port: int) -> Device:
        device = Device(user_id, self._on_ack)
        device.client = await connect(self._host, port, device.text, device.ends.append)
        frame = {"type": "hello", "token": self._token(user_id), "device_id": "bench"}
        device.client.send(msgspec.json.encode(frame))
        return device

    def _token(self, user_id: str) -> str:
        now = int(time.time())
        claims = {"sub": user_id, "aud": "tidings", "iat": now, "exp": now + 86_400}
        return jwt.encode(claims, self._key, algorithm="HS256")

    def _send(self, sender: Device, session_id: str, due: float) -> None:
        client_msg_id = uuid7(int(time.time() * 1000), uuid.uuid4().int % 2**60)
        self._step.due[client_msg_id] = due
        frame = {"type": "send", "client_msg_id": client_msg_id, "session_id": session_id, "kind": "text"}
        assert sender.client is not None
        sender.client.send(msgspec.json.encode({**frame, "body": _BODY}))

    def _on_ack(self, frame: Frame, now: float) -> None:
        due = self._step.due.get(frame.client_msg_id)
        if frame.type == "send_error":
            self._step.refused.append(frame.code)
            return
        self._acked.setdefault(frame.session_id, {})[frame.client_msg_id] = frame.seq
        if due is not None:
            self._step.acks.append(now - due)

    def _on_message(self, message: Message, now: float) -> None:
        due = self._step.due.get(message.client_msg_id)
        if due is not None:
            self._step.deliveries.append(now - due)
            self._step.last[message.client_msg_id] = now

    async def _tick(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(_TICK_S / 8)
            now, turn = time.perf_counter(), (turn + 1) % 8
            for devices in self._devices.values():
                for device in devices[turn::8]:
                    device.tick(now)


def _seen(device: Device, session_id: str) -> dict[str, Any]:
    """The messages of a device from the inbox, in order, and from read pushes. They fit into one line of JSON."""
    return {"inbox": device.seen.get(session_id, []), "read": sorted(device.read_pushed.get(session_id, ()))}


def _friend(user_id: str, number: int) -> str:
    return f"{user_id}-{number:04d}"


def _users(name: str, count: int) -> list[str]:
    return [f"{name}{number:05d}" for number in range(count)]


def _answer(request: urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=30) as response:
        result: dict[str, Any] = json.loads(response.read())
        return result


if __name__ == "__main__":
    uvloop.run(serve(GroupGenerator(Path(sys.argv[1]).read_text().strip().encode(), sys.argv[2])))
