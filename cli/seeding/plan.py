"""What `tidings seed` sends: sessions, and the commands of each in the order of time.

A plan is a function of its numbers and keeps only one small row per session. The commands of a session can be computed
again at any time, so a comparison needs no second copy of what was sent.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from cli.seeding.words import text
from services.gateway.protocol.bodies import BodyRules
from services.gateway.protocol.commands import checked_draft, command_of
from services.gateway.protocol.frames import Send
from services.gateway.protocol.group_commands import (
    Asker,
    adding,
    checked_asker,
    creating,
    group_id,
    made_client_msg_id,
    removing,
)
from tidings import ids
from tidings.errors import ConfigurationError
from tidings.runtime.settings import LimitSettings
from tidings.runtime.stamps import stamps_of
from tidings.wire.inbound_pb2 import Command

MONTH_DAYS = 30
# A plan of a year and more is only slower, but times before Kafka's and Tidings' own are mistakes.
MOST_MONTHS = 60
MOST_USERS = 9_999
# A member joins with the beginning of the third month, and another one is removed with that of the fourth.
_JOIN_DAY, _REMOVE_DAY = 2 * MONTH_DAYS, 3 * MONTH_DAYS
_LEAST_MEMBERS, _MOST_MEMBERS = 3, 20
# Zipf: the busiest of 1,000 sessions has an eighth of all messages.
_SKEW = 1.0
# Of all sessions, the busiest live for the whole time. The others end after a month or two, half of them in the first.
_BUSY_SHARE = 0.1
_REPLY_SHARE = 0.05
_REPLY_BACK = 20
# Only ids of groups are made of it. A gateway has a secret of its own, so none of its groups can have such an id.
_GROUP_KEY = b"tidings seed"
_NO_RULES = BodyRules()


@dataclass(frozen=True, slots=True)
class SeedSizes:
    """How much a plan holds. `messages` are those of users; the messages of group commands come on top."""

    months: int = 6
    sessions: int = 200
    groups: int = 10
    messages: int = 20_000
    users: int = 100

    def fault(self) -> str | None:
        """What does not fit together, with what to change."""
        pairs = self.users * ((self.users - 1) // 2)
        if self.sessions > pairs:
            return f"{self.users} users have {pairs} pairs for sessions, fewer than {self.sessions}; raise --users"
        if self.groups and self.users < _LEAST_MEMBERS + 1:
            return f"groups need {_LEAST_MEMBERS + 1} users; raise --users"
        if not self.sessions + self.groups:
            return "there are neither sessions nor groups; raise --sessions"
        if self.messages < self.sessions + self.groups:
            return "each session has a message at least; raise --messages"
        return None


@dataclass(frozen=True, slots=True)
class PlannedSession:
    """One session. Days are those of the plan, `last_day` included. `members` of a group: owner, then the others.

    `joining` becomes a member at _JOIN_DAY, and the last of `members` is removed at _REMOVE_DAY; "" for a direct
    session, and in a plan that ends before.
    """

    number: int
    session_id: str
    members: tuple[str, ...]
    messages: int
    first_day: int
    last_day: int
    joining: str = ""
    leaving: str = ""

    @property
    def is_group(self) -> bool:
        """Whether the session is a group, which begins with its creation."""
        return ids.is_group_session(self.session_id)


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """One command, and the seq and `at` that the persister gives to its message."""

    seq: int
    at_ms: int
    command: Command


class SeedPlan:
    """All sessions and commands of a seeding."""

    def __init__(self, sizes: SeedSizes, limits: LimitSettings, ends_at_ms: int, seed: int = 1, prefix: str = "seed"):
        """It ends with the beginning of the UTC day of `ends_at_ms`, so that a second run on that day repeats it.

        `prefix`: of the user ids. Raises ConfigurationError if the sizes do not fit together.
        """
        fault = sizes.fault()
        if fault:
            raise ConfigurationError(fault)
        self.sizes = sizes
        self.days = sizes.months * MONTH_DAYS
        self.ends_at_ms = ids.day_of(ends_at_ms) * ids.DAY_MS
        self.starts_at_ms = self.ends_at_ms - self.days * ids.DAY_MS
        self.users = tuple(f"{prefix}-{number:04d}" for number in range(1, sizes.users + 1))
        self.stamps = stamps_of(limits)
        self._seed = seed
        self.sessions = self._drawn_sessions()

    @property
    def commands_total(self) -> int:
        """The number of all commands."""
        return sum(self.length(session) for session in self.sessions)

    def length(self, session: PlannedSession) -> int:
        """The number of messages that the session has in the end, which is its newest seq."""
        return session.messages + len(_group_days(session))

    def commands(self) -> Iterator[PlannedMessage]:
        """All commands, day by day, so that the times in a partition of the log never step back by more than a day."""
        starting: defaultdict[int, list[PlannedSession]] = defaultdict(list)
        for session in self.sessions:
            starting[session.first_day].append(session)
        living: list[PlannedSession] = []
        for day in range(self.days):
            living = [session for session in living if session.last_day >= day] + starting[day]
            for session in living:
                yield from self._of_day(session, day)

    def messages_of(self, session: PlannedSession) -> Iterator[PlannedMessage]:
        """The commands of one session, in their order."""
        for day in range(session.first_day, session.last_day + 1):
            yield from self._of_day(session, day)

    # -- sessions ----------------------------------------------------------------------------------

    def _drawn_sessions(self) -> tuple[PlannedSession, ...]:
        sizes = self.sizes
        draw = self._draw("sessions")
        count = sizes.sessions + sizes.groups
        places = list(range(count))
        draw.shuffle(places)
        shares = _skewed(sizes.messages, count)
        return tuple(self._session(number, places[number], shares, draw) for number in range(count))

    def _session(self, number: int, place: int, shares: list[int], draw: random.Random) -> PlannedSession:
        """The session with this place among the busiest, 0 first."""
        if number >= self.sizes.sessions:
            return self._group(number, shares[place], draw)
        first_day, last_day = self._life(draw, is_busy=place < max(1, round(len(shares) * _BUSY_SHARE)))
        users = self._pair(number)
        return PlannedSession(number, ids.direct_session(*users), users, shares[place], first_day, last_day)

    def _life(self, draw: random.Random, *, is_busy: bool) -> tuple[int, int]:
        first = 0 if draw.random() < 0.5 else draw.randrange(self.sizes.months)
        months = draw.choice((1, 1, 2))
        if is_busy:
            return 0, self.days - 1
        return first * MONTH_DAYS, min((first + months) * MONTH_DAYS, self.days) - 1

    def _pair(self, number: int) -> tuple[str, str]:
        """Two users: each with the next ones in a circle, so that no pair comes twice."""
        round_number, place = divmod(number, len(self.users))
        return self.users[place], self.users[(place + 1 + round_number) % len(self.users)]

    def _group(self, number: int, messages: int, draw: random.Random) -> PlannedSession:
        size = min(_LEAST_MEMBERS + int(draw.expovariate(0.25)), _MOST_MEMBERS, len(self.users) - 1)
        *members, joining = draw.sample(self.users, size + 1)
        asker = self._asker(members[0], self._draw(f"group {number}"), self.starts_at_ms)
        return PlannedSession(
            number,
            group_id(_GROUP_KEY, asker),
            tuple(members),
            messages,
            first_day=0,
            last_day=self.days - 1,
            joining=joining if self.days > _JOIN_DAY else "",
            leaving=members[-1] if self.days > _REMOVE_DAY else "",
        )

    # -- commands ----------------------------------------------------------------------------------

    def _of_day(self, session: PlannedSession, day: int) -> Iterator[PlannedMessage]:
        seq = _posts_before(session, day) + sum(1 for each in _group_days(session) if each < day)
        starts_at_ms = self.starts_at_ms + day * ids.DAY_MS
        group_command = self._group_command(session, day, starts_at_ms)
        if group_command is not None:
            seq += 1
            yield self._planned(seq, starts_at_ms, group_command)
        count = _posts_before(session, day + 1) - _posts_before(session, day)
        if not count:
            return
        draw = self._draw(f"{session.number} on {day}")
        members = _members_on(session, day)
        for offset_ms in sorted(draw.randrange(1, ids.DAY_MS) for _ in range(count)):
            seq += 1
            at_ms = starts_at_ms + offset_ms
            yield self._planned(seq, at_ms, _post(draw, session.session_id, members, seq, at_ms))

    def _group_command(self, session: PlannedSession, day: int, at_ms: int) -> Command | None:
        """What happens to a group at the beginning of a day."""
        if day not in _group_days(session):
            return None
        owner, *others = session.members
        if day == 0:
            body: Mapping[str, object] = {"name": f"Seed group {session.number}", "members": others}
            return creating(self._asker(owner, self._draw(f"group {session.number}"), at_ms), _GROUP_KEY, body)
        asker = self._asker(owner, self._draw(f"{session.number} changes on {day}"), at_ms)
        if day == _JOIN_DAY:
            return adding(asker, session.session_id, {"user_ids": [session.joining]})
        return removing(asker, session.session_id, session.leaving)

    def _planned(self, seq: int, at_ms: int, command: Command) -> PlannedMessage:
        """Without an origin, because no gateway waits for the answer."""
        command.stamps.CopyFrom(self.stamps)
        return PlannedMessage(seq, at_ms, command)

    def _asker(self, user_id: str, draw: random.Random, at_ms: int) -> Asker:
        return checked_asker(user_id, _client_msg_id(draw, at_ms), at_ms)

    def _draw(self, what: str) -> random.Random:
        return random.Random(f"{self._seed} {what}")


def _post(draw: random.Random, session_id: str, members: tuple[str, ...], seq: int, at_ms: int) -> Command:
    sender = draw.choice(members)
    is_reply = seq > _REPLY_BACK and draw.random() < _REPLY_SHARE
    send = Send(
        client_msg_id=_client_msg_id(draw, at_ms),
        session_id=session_id,
        kind="text",
        body={"text": text(draw)},
        reply_to=seq - draw.randint(1, _REPLY_BACK) if is_reply else None,
    )
    return command_of(sender, checked_draft(sender, send, _NO_RULES, at_ms))


def _client_msg_id(draw: random.Random, at_ms: int) -> str:
    return made_client_msg_id(at_ms, draw.randbytes(10))


def _skewed(total: int, count: int) -> list[int]:
    """Parts of `total`, the largest first, each 1 or more."""
    weights = [0.0, *accumulate(1 / (place + 1) ** _SKEW for place in range(count))]
    ends = [round((total - count) * weight / weights[-1]) for weight in weights]
    return [1 + end - start for start, end in pairwise(ends)]


def _posts_before(session: PlannedSession, day: int) -> int:
    """The messages of users on the days before `day`, spread evenly. Few messages fall on days by the session's number.

    Whole numbers, so that the last day always completes the count.
    """
    days = session.last_day + 1 - session.first_day
    begun = min(max(day - session.first_day, 0), days)
    return (session.messages * begun + session.number % days) // days


def _group_days(session: PlannedSession) -> tuple[int, ...]:
    """The days that begin with a command of the group."""
    if not session.is_group:
        return ()
    return (0, *((_JOIN_DAY,) if session.joining else ()), *((_REMOVE_DAY,) if session.leaving else ()))


def _members_on(session: PlannedSession, day: int) -> tuple[str, ...]:
    members = session.members
    if session.leaving and day >= _REMOVE_DAY:
        members = members[:-1]
    return (*members, session.joining) if session.joining and day >= _JOIN_DAY else members
