"""Bugs inside the parts that only the whole product runs: worker, gateway, receipts and the SDK's core."""

from scripts.planted import noticed_by as by
from scripts.planted.bug import Noticed, bug

_WORKER = "tidings/runtime/worker.py"
_LIVE = "services/gateway/connections/live.py"
_SDK = "sdk/python/src/tidings_client"

BUGS = (
    bug(
        "the worker opens a partition without its marks",
        _WORKER,
        "            lane.open(offset, marks[partition])\n",
        "            lane.open(offset, Marks())\n",
        by.SIMULATED,
        noticed=Noticed(0, "G6, G10: an inbox holds too much or too little"),
    ),
    bug(
        "the worker confirms partitions that have failed",
        _WORKER,
        "confirmed = [partition for partition in work.arrivals if not work.has_failed(partition.partition)]",
        "confirmed = list(work.arrivals)",
        by.SIMULATED,
        noticed=Noticed(0, "G4: two owners wrote different rows"),
    ),
    bug(
        "the worker commits what it has queued",
        _WORKER,
        "positions = {lane.partition: Committed(lane.confirmed_offset, lane.marks.encoded()) for lane in lanes}",
        "positions = {lane.partition: Committed(lane.next_offset, lane.marks.encoded()) for lane in lanes}",
        by.SIMULATED,
        noticed=Noticed(1, "G1, G4: a message is not what its log says"),
    ),
    bug(
        "the router shows a receipt as it comes",
        "services/gateway/push/router.py",
        "            highest = self._sent.risen(recipient_id, moved)\n",
        "            highest = moved\n",
        by.SIMULATED,
        noticed=Noticed(7, "G8: a frame goes back, or says read above delivered"),
    ),
    bug(
        "the router pushes a message of a large group to all that track it",
        "services/gateway/push/router.py",
        "                self._send_to(members, ",
        "                self._send_to(tuple(self._registry.group_tracker._generations), ",
        by.SIMULATED,
        noticed=Noticed(0, "G10: a non-member gets a message"),
    ),
    bug(
        "a heartbeat says nothing of large groups",
        "services/gateway/protocol/connection.py",
        '        self._add(encode("heartbeat", inbox_seq=self.inbox_tail, heads=heads_of(moved)))\n',
        '        self._add(encode("heartbeat", inbox_seq=self.inbox_tail, heads=heads_of({})))\n',
        by.SIMULATED,
        noticed=Noticed(40, "G6: a device never shows a message"),
    ),
    bug(
        "a connection goes live before its large groups are read",
        _LIVE,
        "        self._waiting[link] = max(live.inbox_seq, self._waiting.get(link, 0))\n        self._begin()\n",
        "        link.connection.went_live(live.inbox_seq, {}, self._clock.monotonic_ms())\n"
        "        self._registry.settle(link)\n",
        by.SIMULATED,
        noticed=Noticed(4, "G6: a device never shows a message"),
    ),
    bug(
        "a connection that goes live reads tracked groups only",
        _LIVE,
        "in listed.union(groups.tracked_sessions(user_id)) if",
        "in groups.tracked_sessions(user_id) if",
        by.SIMULATED,
        noticed=Noticed(2, "G6: a device never shows a message"),
    ),
    bug(
        "receipts does not raise the watermarks that it counts",
        "services/receipts/worker.py",
        "            self._groups.raise_to(pair, after.delivered_seq, after.read_seq)\n",
        "",
        by.SIMULATED,
        noticed=Noticed(0, "counts: the last ones are wrong"),
    ),
    bug(
        "the client shows a message again",
        f"{_SDK}/receiving.py",
        "        if seq <= self._shown.get(session_id, 0):\n",
        "        if seq < 0:\n",
        by.SIMULATED,
        noticed=Noticed(0, "G6: a device shows a message twice"),
    ),
    bug(
        "the client does not look at the tail of a heartbeat",
        f"{_SDK}/receiving.py",
        "        self._tail = max(self._tail, inbox_seq)\n        for head in heads:\n",
        "        for head in heads:\n",
        by.SIMULATED,
        noticed=Noticed(9, "G6: a device never shows a message"),
    ),
    bug(
        "the client keeps a cursor above what was handled",
        f"{_SDK}/receiving.py",
        "            yield PersistCursor(self._lives.stamped(self._progress.cursor))\n",
        "            cursor = Cursor(self._cursor or 0, self._progress.cursor.groups)\n"
        "            yield PersistCursor(self._lives.stamped(cursor))\n",
        by.SIMULATED,
        noticed=Noticed(2, "G8: what an application has said is not stored"),
    ),
    bug(
        "the client sends a read mark on one connection only",
        f"{_SDK}/core.py",
        "        yield from self._acks.ready()\n",
        "",
        by.SIMULATED,
        noticed=Noticed(0, "G8: what an application has said is not stored"),
    ),
    bug(
        "the client does not repeat unanswered messages on a new connection",
        f"{_SDK}/core.py",
        "        yield from self._outgoing.ready(now_ms, welcome.user_id, welcome.limits)\n",
        "        if not self._outgoing.receipts.newest_unread():\n"
        "            yield from self._outgoing.ready(now_ms, welcome.user_id, welcome.limits)\n",
        by.SIMULATED,
        noticed=Noticed(0, "a device never comes to rest"),
    ),
)
