"""Bugs that the seeded simulation detects."""

from scripts.planted import noticed_by as by
from scripts.planted.bug import Bug, Noticed, bug

BUGS = (
    bug(
        "expand keeps the members from before a change",
        "services/fanout/members.py",
        "        if persisted.joined_ids or persisted.left_ids:\n            audience = Audience",
        "        if False:\n            audience = Audience",
        by.SIMULATED,
        hazards=("H3", "H15"),
        noticed=Noticed(0, "G6, G10: an inbox holds too much or too little"),
    ),
    Bug(
        "the persister drops members that have left",
        "services/persister/state.py",
        (
            (
                "        kept.update(self.members)\n",
                "        kept.update({user: row for user, row in self.members.items() if not row.left_seq})\n",
            ),
            ("if has_ended or row.left_seq]", "if has_ended]"),
        ),
        (by.SIMULATED,),
        hazards=("H3",),
        noticed=Noticed(0, "G1, G2: an answer is not what the log says"),
    ),
    bug(
        "member rows are overwritten instead of versioned",
        "services/persister/groups.py",
        '    """The member\'s next version, with these columns changed."""\n    at = {"as_of_seq": place.seq, ',
        '    """The member\'s next version, with these columns changed."""\n    at = {',
        by.SIMULATED,
        hazards=("H3",),
        noticed=Noticed(0, "law 6: a message is acked before its versions"),
    ),
    bug(
        "a replay reads the newest group row",
        "services/persister/worker.py",
        "            session_id: tail.seq\n",
        "            session_id: 2**62\n",
        by.SIMULATED,
        hazards=("H3", "H22"),
        noticed=Noticed(0, "G11: a refusal is not what the log says"),
    ),
    bug(
        "a replay reads members of later rounds",
        "services/persister/worker.py",
        "members_as_of(session_id, draft.base.seq, user_ids)",
        "members_as_of(session_id, 2**62, user_ids)",
        by.SIMULATED,
        hazards=("H3", "H22"),
        noticed=Noticed(0, "G3: a session lacks a message that its log accepts"),
    ),
    bug(
        "expand reads the members as of now",
        "services/fanout/expand_worker.py",
        "member_page(session_id, seq, after",
        "member_page(session_id, 2**62, after",
        by.SIMULATED,
        hazards=("H15", "H22"),
        noticed=Noticed(1, "G10: a non-member gets a message"),
    ),
    bug(
        "inbox_seq comes from memory only",
        "services/fanout/deliver_worker.py",
        "loaded = await inbox_tails.inbox_tails_below(self._store, missing, work.ensure_still_assigned)",
        "loaded: dict[str, inbox_tails.InboxEnd | None] = dict.fromkeys(missing)",
        by.SIMULATED,
        hazards=("H22",),
        noticed=Noticed(1, "G4: two owners wrote different rows"),
    ),
    Bug(
        "an ack goes out before the side rows are confirmed",
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
        hazards=("H1",),
        noticed=Noticed(0, "G1, G2: a message is acked before its key is stored"),
    ),
    bug(
        "a removed member does not get the removal",
        "services/fanout/members.py",
        "        if not persisted.left_ids:\n            return self.audience\n",
        "        return self.audience\n",
        by.SIMULATED,
        noticed=Noticed(7, "G6, G10: an inbox holds too much or too little"),
    ),
    bug(
        "a system message counts as its author's own last one",
        "services/persister/effects.py",
        "        if accepted.entry.kind in COUNTABLE_KINDS:\n            sent",
        "        if True:\n            sent",
        by.SIMULATED,
        noticed=Noticed(0, "G9: unread differs from a recount"),
    ),
    bug(
        "an own last message is read from receipts only",
        "services/persister/effects.py",
        "        self._add_sent(placed)\n",
        "",
        by.UNREAD,
        by.OWN_LAST,
        by.SIMULATED,
        noticed=Noticed(0, "G9: unread differs from a recount"),
    ),
    Bug(
        "the persister uses its own `write_diffusion_max` (4), not the stamp",
        "services/persister/membership.py",
        (
            ("len(users), limits.write_diffusion_max", "len(users), 4"),
            ("member_count, limits.write_diffusion_max", "member_count, 4"),
            ("command.stamps.write_diffusion_max", "4"),
        ),
        (by.SIMULATED,),
        hazards=("H17",),
        noticed=Noticed(0, "H4: a message does not switch where its log says it must"),
    ),
    bug(
        "heads are sent without a read of the tables",
        "services/gateway/large_groups/heads.py",
        "                if self._groups.is_verified_member(user_id, name, head):\n",
        "                if True:\n",
        by.SIMULATED,
        noticed=Noticed(15, "G10: a non-member gets a head"),
    ),
)
