"""Bugs in the archive: the order of its steps, its checks, and what readers and the persister make of it."""

from scripts.planted import noticed_by as by
from scripts.planted.bug import Bug, bug

BUGS = (
    bug(
        "hot rows are deleted before the object is verified",
        "tidings/cold/mover.py",
        "        await self._verify(key, written)\n        task.claim.ensure()\n",
        "        await self._drop([ended.listed for ended, _ in full.places(written, key)], task)\n"
        "        await self._verify(key, written)\n        task.claim.ensure()\n",
        by.OTHER_BYTES,
        by.READ_BACK_FAILS,
    ),
    bug(
        "an object is not read back",
        "tidings/cold/mover.py",
        "        await self._verify(key, written)\n",
        "",
        by.OTHER_BYTES,
    ),
    Bug(
        "the directory is written before the object",
        "tidings/cold/mover.py",
        (
            (
                "        await self._objects.put(key, bytes_of(full.path))\n",
                "        moving = list(full.places(written, key))\n"
                "        await _each(moving, lambda one: self._tables.set_cold(one[0].listed.name, one[1]))\n"
                "        await self._objects.put(key, bytes_of(full.path))\n",
            ),
        ),
        (by.ANY_STOP, by.UNSTORED_OBJECT),
    ),
    bug(
        "hot rows are deleted as of now",
        "tidings/cold/mover.py",
        "lambda one: self._drop_one(one, task.confirmed, task.begun_ms * 1000))",
        "lambda one: self._drop_one(one, task.confirmed, 2**62))",
        by.RESTORED_STAYS,
    ),
    bug(
        "a segment is moved before the persister has confirmed its end",
        "tidings/cold/ended.py",
        "        return following.first_seq - 1 if following.made_at < confirmed else None\n",
        "        return following.first_seq - 1\n",
        by.UNCONFIRMED_END,
        by.ENDED,
    ),
    bug(
        "incomplete hot rows are moved",
        "tidings/cold/packs.py",
        "        if self._added[-1].next_seq != self._added[-1].ended.last_seq + 1:\n",
        "        if False:\n",
        by.INCOMPLETE,
    ),
    bug(
        "a page of history stops at the line",
        "tidings/store/history.py",
        "    if place is None:\n        return await store.messages(span.name, span.first_seq, span.last_seq)\n",
        "    if place is None or cold is None or span.last_seq > 0:\n"
        "        return await store.messages(span.name, span.first_seq, span.last_seq)\n",
        by.ACROSS_THE_LINE,
    ),
    bug(
        "a reader does not look where a segment has moved to",
        "tidings/store/history.py",
        "_MOVES = 3\n",
        "_MOVES = 1\n",
        by.MOVES_DURING_A_READ,
    ),
    bug(
        "the directory is not read again before hot rows are deleted",
        "tidings/cold/mover.py",
        "        await self._ensure_named(moving)\n",
        "",
        by.UNNAMED_OBJECT,
    ),
    bug(
        "a hot copy is deleted without a look at its object",
        "tidings/cold/mover.py",
        "            if not problem:\n",
        "            if True:\n",
        by.DAMAGED_COPY,
    ),
    bug(
        "the mark of a segment goes after its rows have come back",
        "tidings/cold/restore.py",
        "        if not await unmark(self._ports, one):\n",
        "        if False:\n",
        by.RESTORE_STOPS,
    ),
    bug(
        "a late mark hides a segment that was restored",
        "tidings/cold/mover.py",
        "        async for page in pages(self._tables, shard):\n",
        "        async for page in pages(self._tables, shard, with_marked=False):\n",
        by.LATE_MARK,
    ),
    bug(
        "a mark of an earlier move counts",
        "tidings/cold/listing.py",
        "        return self.segment.cold is not None and self.row.dropped_of == self.segment.cold.moved_at\n",
        "        return self.segment.cold is not None and self.row.dropped_of is not None\n",
        by.EARLIER_MARK,
    ),
    bug(
        "the late end of a shard counts although it was restored",
        "tidings/cold/verify.py",
        "    await tables.reopen(shard)\n    try:\n        yield\n    finally:\n        await tables.reopen(shard)\n",
        "    yield\n",
        by.LATE_END,
    ),
    bug(
        "a purge takes no claim",
        "tidings/cold/archiver.py",
        "        await self._under_claim(shard, lambda claim: self._retention.purge(shard, claim))\n",
        "        claim = Claim(self._tables, self._clock, shard, self._holder)\n"
        "        claim.ensure = lambda: None  # type: ignore[method-assign]\n"
        "        await self._retention.purge(shard, claim)\n",
        by.PURGE_LEAVES_A_RESTORE,
    ),
    bug(
        "a checksum leaves out a column",
        "tidings/cold/checksums.py",
        '            _reply_to(b"reply_to=", 8, row.reply_to) if is_reply else b"",\n',
        "",
        by.EVERY_COLUMN,
    ),
    bug(
        "a checksum leaves out the count",
        "tidings/cold/checksums.py",
        'b"count=", 8, row.count, *coordinates',
        'b"count=", 8, 0, *coordinates',
        by.EVERY_COLUMN,
    ),
    bug(
        "a checksum leaves out the mentions",
        "tidings/cold/checksums.py",
        "_encoded_mentions(row.mentions) if row.mentions is not None",
        "_encoded_mentions(()) if row.mentions is not None",
        by.EVERY_COLUMN,
    ),
    bug(
        "the tail of a closed segment is read from its messages",
        "tidings/store/session_tails.py",
        "    if segment.closed_at is None or segment.closed_at >= position:\n",
        "    if True:\n",
        by.MOVED_SESSION,
        by.REPEAT_AFTER_MOVE,
    ),
    bug(
        "a replay takes the closing of a later record",
        "tidings/store/session_tails.py",
        "    if segment.closed_at is None or segment.closed_at >= position:\n",
        "    if segment.closed_at is None:\n",
        by.UNCONFIRMED_CLOSING,
    ),
    bug(
        "a message after a closing stays in the closed segment",
        "services/persister/sequence.py",
        "is_full or draft.segment_is_closed or ids.month_of",
        "is_full or ids.month_of",
        by.AFTER_A_CLOSING,
        by.MOVED_SESSION,
    ),
    bug(
        "the directory's counts of cold messages ignore those that do not count",
        "tidings/store/history.py",
        "    uncounted = [number for (number,) in _PLACE.iter_unpack(place.uncounted)]\n",
        "    uncounted: list[int] = []\n",
        by.COLD_COUNTS,
    ),
    bug(
        "messages are deleted before they are hidden",
        "tidings/cold/retention.py",
        "        await self._tables.set_purged(one.name.session_id, last_seq, place.last_count)\n",
        "        await self._objects.delete([place.object_key])\n"
        "        await self._tables.set_purged(one.name.session_id, last_seq, place.last_count)\n",
        by.PURGE_STOPS,
    ),
)
