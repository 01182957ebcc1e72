"""Acks and reads whose bound must be read from the tables. They delay later frames only for a bounded time, and none is
lost while the tables are unavailable.

A claim beyond the head counts as the head at the time of its frame. So its look-up begins at once, and the frames
behind it wait for a bounded time. If the look-up fails, a later one may find messages that came after the frame. Then
a claim counts if the head has reached it. A claim that is still beyond the head is refused, because its bound at the
time of the frame cannot be determined any more.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from services.gateway.connections.link import Link
from services.gateway.protocol.effects import MoveWatermark
from services.gateway.submit.watermarks import WatermarkMoves
from tidings.errors import Refused
from tidings.logging import logger

# One ack names at most 1,000 sessions. Some 400 bytes each while the tables are unavailable: 20 MB per gateway.
MAX_OF_CONNECTION = 1_000
MAX_HELD = 50_000
# The longest wait of a connection's frames, for any number of look-ups.
FRAMES_WAIT_S = 0.25
# The backoff after a failed look-up doubles up to a second. One look-up retries all claims of a connection.
_FIRST_RETRY_S = 0.1
_RETRY_S = 1.0

_log = logger("tidings.gateway.held_claims")


class _Held:
    """The claims of one connection that wait for a look-up."""

    __slots__ = ("claims", "late", "lookups", "retrying")

    def __init__(self) -> None:
        self.claims: set[MoveWatermark] = set()
        # The claims among them whose first look-up has failed.
        self.late: set[MoveWatermark] = set()
        # The first look-ups under way, with their start times, the oldest first.
        self.lookups: dict[asyncio.Task[None], float] = {}
        self.retrying: asyncio.Task[None] | None = None


class HeldClaims:
    """Holds claims by connection, each until a look-up succeeds or the connection ends."""

    def __init__(self, moves: WatermarkMoves, settle: Callable[[Link], None]) -> None:
        """`settle` sends the refusals."""
        self._moves = moves
        self._settle = settle
        self._held: dict[str, _Held] = {}
        self._count = 0
        self._lookups: set[asyncio.Task[None]] = set()

    def take(self, link: Link, moves: Sequence[MoveWatermark]) -> None:
        """Publish the claims that certainly count, and begin one look-up for all others."""
        user_id = link.connection.user_id
        asked: dict[MoveWatermark, int] = {}
        for move in moves:
            if self._moves.is_certain(user_id, move.session_id, move.seq):
                self._move(link, move, move.seq)
            elif self._hold(link, move):
                asked[move] = self._moves.known_head(user_id, move.session_id)
        if asked:
            held = self._held[link.connection.connection_id]
            lookup = asyncio.create_task(self._look_up(link, held, asked))
            held.lookups[lookup] = asyncio.get_running_loop().time()
            self._lookups.add(lookup)
        self._settle(link)

    async def wait_for_lookups(self, link: Link) -> None:
        """Wait for the look-ups of this connection, until the oldest one has taken FRAMES_WAIT_S."""
        held = self._held.get(link.connection.connection_id)
        if held is None or not held.lookups:
            return
        left_s = next(iter(held.lookups.values())) + FRAMES_WAIT_S - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.wait(tuple(held.lookups), timeout=left_s)

    async def settled(self, timeout_s: float) -> None:
        """Before the process ends: wait for the look-ups under way, and cancel the retries."""
        if self._lookups:
            await asyncio.wait(tuple(self._lookups), timeout=timeout_s)
        for held in tuple(self._held.values()):
            if held.retrying is not None:
                held.retrying.cancel()

    def _hold(self, link: Link, move: MoveWatermark) -> bool:
        """Hold a claim. False if it is held already, or if there is no room and it was refused."""
        name = link.connection.connection_id
        held = self._held.get(name)
        if held is not None and move in held.claims:
            return False
        if self._count >= MAX_HELD or (held is not None and len(held.claims) >= MAX_OF_CONNECTION):
            link.connection.failed(_unavailable(), move.ref)
            return False
        self._held.setdefault(name, _Held()).claims.add(move)
        self._count += 1
        return True

    async def _look_up(self, link: Link, held: _Held, asked: dict[MoveWatermark, int]) -> None:
        """The first look-up, which begins with the frame. `asked`: each claim with the head known at that time."""
        try:
            bounds = await self._moves.look(link.connection.user_id, _claims(asked))
            for move, known in asked.items():
                bound = bounds.get(move.session_id)
                if bound is None and move.session_id in bounds:
                    self._move(link, move, known)
                    held.late.add(move)
                else:
                    self._release(held, [move])
                    self._move(link, move, bound)
        except Exception:  # noqa: BLE001 - the client must not continue as if its acks were published
            _log.exception("the look-up of an ack failed", connection=link.connection.connection_id)
            self._release(held, asked)
            link.connection.broke()
        finally:
            this = asyncio.current_task()
            assert this is not None
            self._lookups.discard(this)
            del held.lookups[this]
            self._retry_or_remove(link, held)

    def _retry_or_remove(self, link: Link, held: _Held) -> None:
        self._settle(link)
        if held.late and held.retrying is None and _is_open(link):
            held.retrying = asyncio.create_task(self._retry(link, held))
        elif held.retrying is None and not held.lookups:
            self._remove(link, held)

    async def _retry(self, link: Link, held: _Held) -> None:
        wait_s = _FIRST_RETRY_S
        try:
            while held.late and _is_open(link):
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _RETRY_S)
                await self._retry_lookup(link, held)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("the look-up of an ack failed", connection=link.connection.connection_id)
            link.connection.broke()
        finally:
            held.retrying = None
            self._settle(link)
            if not held.lookups:
                self._remove(link, held)

    async def _retry_lookup(self, link: Link, held: _Held) -> None:
        asked = tuple(held.late)
        bounds = await self._moves.look(link.connection.user_id, _claims(asked))
        for move in asked:
            bound = bounds.get(move.session_id)
            if bound is None and move.session_id in bounds:
                continue
            self._release(held, [move])
            if bound is not None and bound < move.seq:
                link.connection.failed(_unavailable(), move.ref)
            else:
                self._move(link, move, bound)
        self._settle(link)

    def _move(self, link: Link, move: MoveWatermark, bound: int | None) -> None:
        try:
            self._moves.move(link.connection.user_id, move, bound)
        except Refused as refused:
            link.connection.failed(refused, move.ref)

    def _release(self, held: _Held, moves: Iterable[MoveWatermark]) -> None:
        for move in moves:
            if move in held.claims:
                held.claims.remove(move)
                held.late.discard(move)
                self._count -= 1

    def _remove(self, link: Link, held: _Held) -> None:
        """Drop all claims of a connection. Any that are left belong to a connection that has ended."""
        self._release(held, tuple(held.claims))
        if self._held.get(link.connection.connection_id) is held:
            del self._held[link.connection.connection_id]


def _is_open(link: Link) -> bool:
    return not (link.is_gone or link.connection.closing)


def _claims(moves: Iterable[MoveWatermark]) -> dict[str, int]:
    claims: dict[str, int] = {}
    for move in moves:
        claims[move.session_id] = max(move.seq, claims.get(move.session_id, 0))
    return claims


def _unavailable() -> Refused:
    return Refused("unavailable", "storage is temporarily unavailable; send the ack or read again")
