"""Bugs that the seeded simulation detects."""

from scripts.planted import noticed_by as by
from scripts.planted.bug import Bug, bug

BUGS = (
    bug(
        "members cached past a change: expand",
        "services/fanout/members.py",
        "        if persisted.joined_ids or persisted.left_ids:\n            audience = Audience",
        "        if False:\n            audience = Audience",
        by.SIMULATED,
    ),
    Bug(
        "members cached past a change: persister",
        "services/persister/state.py",
        (
            (
                "        kept.update(self.members)\n",
                "        kept.update({user: row for user, row in self.members.items() if not row.left_seq})\n",
            ),
            ("if has_ended or row.left_seq]", "if has_ended]"),
        ),
        (by.SIMULATED,),
    ),
    bug(
        "member rows are overwritten instead of versioned",
        "services/persister/groups.py",
        '    """The member\'s next version, with these columns changed."""\n    at = {"as_of_seq": place.seq, ',
        '    """The member\'s next version, with these columns changed."""\n    at = {',
        by.SIMULATED,
    ),
    bug(
        "the mode is that of the newest group row on a replay",
        "services/persister/worker.py",
        "            session_id: tail.message.seq\n",
        "            session_id: 2**62\n",
        by.SIMULATED,
    ),
    bug(
        "a replay sees members of its future",
        "services/persister/worker.py",
        "members_as_of(session_id, draft.base.seq, user_ids)",
        "members_as_of(session_id, 2**62, user_ids)",
        by.SIMULATED,
    ),
    bug(
        "expand asks for the members as of now",
        "services/fanout/expand_worker.py",
        "member_page(session_id, seq, after",
        "member_page(session_id, 2**62, after",
        by.SIMULATED,
    ),
    bug(
        "inbox_seq from memory only",
        "services/fanout/deliver_worker.py",
        "loaded = await history.inbox_tails_below(self._store, missing, work.ensure_still_assigned)",
        "loaded: dict[str, history.InboxEnd | None] = dict.fromkeys(missing)",
        by.SIMULATED,
    ),
    Bug(
        "ack before the side rows are confirmed",
        "services/persister/worker.py",
        (
            (
                "        async for wave in work.write_waves(self._store, effects.ordered_writes()):\n",
                "        side = type(effects.ordered_writes())()\n"
                "        for rows in effects.ordered_writes().waves():\n"
                '            for row in [one for one in rows if one.row.table in ("message_keys", "group_members")]:\n'
                "                rows.remove(row)\n                side.append_unordered(row)\n"
                "        async for wave in work.write_waves(self._store, effects.ordered_writes()):\n",
            ),
            (
                "        _count_outcomes(effects.outcomes)\n",
                "        await work.write(self._store, side)\n        _count_outcomes(effects.outcomes)\n",
            ),
        ),
        (by.SIMULATED,),
    ),
    bug(
        "a removed member does not get the removal",
        "services/fanout/members.py",
        "        if not persisted.left_ids:\n            return self.audience\n",
        "        return self.audience\n",
        by.SIMULATED,
    ),
    bug(
        "a system message counts as its author's own last one",
        "services/persister/effects.py",
        "        if accepted.entry.kind in COUNTABLE_KINDS:\n            sent",
        "        if True:\n            sent",
        by.SIMULATED,
    ),
    bug(
        "the own last message is read from receipts only",
        "services/persister/effects.py",
        "        self._add_sent(placed)\n",
        "",
        by.UNREAD,
        by.OWN_LAST,
        by.SIMULATED,
    ),
    bug(
        "a sent watermark is written concurrently with the message that hides it",
        "services/persister/effects.py",
        "                if session_id in self._mixed:\n",
        "                if False:\n",
        by.UNREAD,
        by.SENT_FIRST,
    ),
    bug(
        "a sent watermark above the head counts all as read",
        "services/gateway/reads/sessions.py",
        "        if not ahead:\n            return found\n",
        "        for one in ahead:\n            one.close()\n        return found\n",
        by.UNREAD,
    ),
    Bug(
        "the process's write_diffusion_max instead of the stamped one",
        "services/persister/membership.py",
        (
            ("len(users), limits.write_diffusion_max", "len(users), 4"),
            ("member_count, limits.write_diffusion_max", "member_count, 4"),
            ("command.stamps.write_diffusion_max", "4"),
        ),
        (by.SIMULATED,),
    ),
    bug(
        "heads are sent without a read of the tables",
        "services/gateway/large_groups/heads.py",
        "                if self._groups.is_verified_member(user_id, name, head):\n",
        "                if True:\n",
        by.SIMULATED,
    ),
    bug(
        "a head is sent to a user that was not a member at it",
        "services/gateway/large_groups/tracker.py",
        "if view is None or not view.is_member_now or seq < view.joined_seq:",
        "if view is None or not view.is_member_now:",
        by.OWN_HEADS,
    ),
    bug(
        "a joining after the head confirms the membership at it",
        "services/gateway/large_groups/heads.py",
        "if is_member(group, member) and member.joined_seq <= heads[name]:",
        "if is_member(group, member):",
        by.ADDED_AFTER_HEAD,
    ),
    bug(
        "pushes after a gap count as contiguous",
        "services/gateway/large_groups/tracker.py",
        " and not view.may_have_missed(range_.first)\n        return is_contiguous",
        "\n        return is_contiguous",
        by.OWN_HEADS,
    ),
)
