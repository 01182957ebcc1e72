"""Bugs in what is admitted: full and dissolved groups, block lists, and the time inside ids."""

from scripts.planted import noticed_by as by
from scripts.planted.bug import Bug, Noticed, bug

BUGS = (
    bug(
        "members are added to a full group",
        "services/persister/membership.py",
        "    if member_count > limits.group_members_max:\n",
        "    if len(users) > limits.group_members_max:\n",
        by.SIMULATED,
        noticed=Noticed(1, "G3: a session lacks a message that its log accepts"),
    ),
    bug(
        "a group is full one member too early",
        "services/persister/membership.py",
        "    if member_count > limits.group_members_max:\n",
        "    if member_count >= limits.group_members_max:\n",
        by.SIMULATED,
        noticed=Noticed(0, "G3: a session lacks a message that its log accepts"),
    ),
    bug(
        "members of a dissolved group still read it",
        "services/gateway/reads/membership.py",
        "    return group.member_count > 0 and member.left_seq == 0\n",
        "    return member.left_seq == 0\n",
        by.SIMULATED,
        noticed=Noticed(1, "a user gets an answer about a dissolved group"),
    ),
    bug(
        "a large group is dissolved without its members' inboxes",
        "services/fanout/plan.py",
        "    is_written = persisted.mode == MODE_WRITE or persisted.mode_to != 0 or persisted.dissolves\n",
        "    is_written = persisted.mode == MODE_WRITE or persisted.mode_to != 0\n",
        by.SIMULATED,
        noticed=Noticed(1, "G6, G10: an inbox holds too little"),
    ),
    bug(
        "a cached block list does not age",
        "services/gateway/reads/block_lists.py",
        "        if known is None or age_ms >= MAX_AGE_MS:\n            return None\n        if age_ms >= REFRESH",
        "        if known is None:\n            return None\n        if age_ms >= 2**62 * REFRESH",
        by.SIMULATED,
        noticed=Noticed(0, "blocks: a user is shown a peer that blocks"),
    ),
    bug(
        "a repeat of a stored message is refused after a block",
        "services/gateway/submit/submitter.py",
        '            if not await self._is_stored(command):\n                raise Refused("user_blocked"',
        '            if True:\n                raise Refused("user_blocked"',
        by.SIMULATED,
        noticed=Noticed(25, "G2: a user is refused a message that is stored"),
    ),
    bug(
        "a blocked peer gets receipts",
        "services/receipts/merge.py",
        "    return (not is_hidden_from_peer and ids.logged_direct_users(pair[0])) or pair[1:]\n",
        "    return ids.logged_direct_users(pair[0]) or pair[1:]\n",
        by.SIMULATED,
        noticed=Noticed(4, "blocks: a frame names more than what is not hidden"),
    ),
    bug(
        "a session shows the watermarks of a peer that blocks",
        "services/gateway/reads/sessions.py",
        "        return found | {place: HIDDEN for place in peers if place[1] in hiding} if hiding else found\n",
        "        return found\n",
        by.SIMULATED,
        noticed=Noticed(0, "blocks: a user is shown a peer that blocks"),
    ),
    bug(
        "`at` is not raised to the time of the id",
        "services/persister/sequence.py",
        "    draft.at = max(record.at_ms, draft.at, (ids.uuid7_time_ms(command.client_msg_id) or 0) - SKEW_MS)\n",
        "    draft.at = max(record.at_ms, draft.at)\n",
        by.SIMULATED,
        noticed=Noticed(7, "G1, G4: a message is not what its log says"),
    ),
    bug(
        "the gateway takes ids of any time",
        "services/gateway/protocol/commands.py",
        "    if made_ms is None:\n        return\n    if made_ms > wall_ms",
        "    if True:\n        return\n    if made_ms > wall_ms",
        by.SIMULATED,
        noticed=Noticed(2, "ids: an id is published that is too far ahead"),
    ),
    Bug(
        "the client keeps an id of a wrong clock",
        "sdk/python/src/tidings_client/sending.py",
        (
            (
                "        if self.make_id is not None and is_first and is_off(",
                "        if False and self.make_id is not None and is_first and is_off(",
            ),
            (
                "        elif (make_id := self.make_id) is not None and ",
                "        elif False and (make_id := self.make_id) and ",
            ),
        ),
        (by.SIMULATED,),
        noticed=Noticed(2, "ids: the client did not change the id of a refused message"),
    ),
)
