"""Bugs in uploads: their references, rights, images and removal."""

from scripts.planted import noticed_by as by
from scripts.planted.bug import bug

BUGS = (
    bug(
        "a message is acked without its references to uploads",
        "services/persister/effects.py",
        "        for media_id in accepted.entry.media_ids:\n",
        "        for media_id in ():\n",
        by.UPLOAD_REFS,
    ),
    bug(
        "the sweep does not wait for the log",
        "tidings/media/sweep.py",
        "        if due and not await self._log_passed():\n",
        "        if False:\n",
        by.SWEEP_WAITS,
    ),
    bug(
        "the sweep removes what has just been sent",
        "tidings/media/sweep.py",
        "        for row in await self._without_refs(due):\n",
        "        for row in due:\n",
        by.SWEEP_WAITS,
    ),
    bug(
        "the sweep does not wait for the gateways after its mark",
        "tidings/media/sweep.py",
        "            elif row.removing_at + GRACE_MS < now_ms:\n",
        "            elif row.removing_at:\n",
        by.SWEEP_STEPS,
    ),
    bug(
        "the sweep deletes objects before the row",
        "tidings/media/sweep.py",
        "            if await self._tables.drop_media(row.media_id, row.removing_at):\n"
        "                await self._objects.delete((row.object_key, row.thumb_key))\n",
        "            await self._objects.delete((row.object_key, row.thumb_key))\n"
        "            if await self._tables.drop_media(row.media_id, row.removing_at):\n",
        by.SWEEP_FAILS,
    ),
    bug(
        "the sweep deletes objects although the row stays",
        "tidings/media/sweep.py",
        "            if await self._tables.drop_media(row.media_id, row.removing_at):\n",
        "            if await self._tables.drop_media(row.media_id, row.removing_at) is not None:\n",
        by.SWEEP_KEEPS,
    ),
    bug(
        "the mark of the sweep is written with its time",
        "tidings/media/sweep.py",
        "            await self._tables.mark_media(row.media_id, MARKED, 0)\n",
        "            await self._tables.mark_media(row.media_id, self._clock.wall_ms(), 0)\n",
        by.SWEEP_LATE_MARK,
    ),
    bug(
        "the sweep settles a day with an unused upload",
        "tidings/media/sweep.py",
        " + len(unsent)\n",
        "\n",
        by.SWEEP_SETTLES,
    ),
    bug(
        "an upload that is about to be removed may be sent",
        "services/gateway/reads/media.py",
        " or row.removing_at:",
        ":",
        by.OWN_UPLOADS,
    ),
    bug(
        "a member may fetch uploads that were sent before the joining",
        "services/gateway/reads/media.py",
        " and ref.seq >= members[ref.session_id].first_seq",
        "",
        by.UPLOAD_RIGHTS,
    ),
    bug(
        "two tries of one upload keep both objects",
        "services/gateway/media/uploads.py",
        "            await self._objects.delete((row.object_key, row.thumb_key))\n",
        "            pass\n",
        by.ONE_UPLOAD,
    ),
    bug(
        "an upload is stored although its bytes may not be counted",
        "services/gateway/media/uploads.py",
        '            raise StoreUnavailable("the bytes of an upload may not be counted")\n',
        "            pass\n",
        by.UNCOUNTED_UPLOAD,
    ),
    bug(
        "uploads at once are not compared with the quota",
        "services/gateway/media/uploads.py",
        "        await self._check_quota(row.owner_id, day, counted)\n",
        "",
        by.UPLOADS_AT_ONCE,
    ),
    bug(
        "the orientation of an image is ignored",
        "services/gateway/media/image_child.py",
        "    orientation = metadata.strip(source, target, header.content_type)\n",
        "    metadata.strip(source, target, header.content_type)\n    orientation = 1\n",
        by.ORIENTATION,
        by.ORIENTED_UPLOAD,
    ),
    bug(
        "the thumbnail of an image is not turned upright",
        "services/gateway/media/image_child.py",
        "    if (turn := _TURNS.get(orientation)) is not None:\n",
        "    if (turn := _TURNS.get(1)) is not None:\n",
        by.ORIENTATION,
        by.ORIENTED_UPLOAD,
    ),
    bug(
        "the digest is that of the body with the facts of its upload",
        "services/gateway/submit/submitter.py",
        "            command.post.body = described(command.post, uploads)\n",
        "            command.post.body = described(command.post, uploads)\n"
        "            command.digest = __import__('tidings.codec').codec.post_digest(command.post)\n",
        by.REMOVED_UPLOAD,
    ),
)
