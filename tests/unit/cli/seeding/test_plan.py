"""The plan of `tidings seed`: a function of its numbers, and gateway and persister accept each of its commands."""

from collections import Counter, defaultdict
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.seeding.plan import MONTH_DAYS, PlannedMessage, SeedPlan, SeedSizes
from services.persister.decisions import Accepted
from services.persister.sequence import decide
from services.persister.state import Draft, SessionState
from tidings import ids
from tidings.broker.base import Record
from tidings.codec import decode_command
from tidings.errors import ConfigurationError
from tidings.runtime.settings import LimitSettings
from tidings.topics import MESSAGES_INBOUND

# 2026-12-01 00:40 UTC.
NOW_MS = 1_796_085_600_000
SMALL = SeedSizes(months=6, sessions=12, groups=3, messages=400, users=12)


def plan(sizes: SeedSizes = SMALL, seed: int = 1, now_ms: int = NOW_MS, prefix: str = "seed") -> SeedPlan:
    return SeedPlan(sizes, LimitSettings(), now_ms, seed, prefix)


def sent(chosen: SeedPlan) -> list[tuple[int, int, bytes]]:
    return [(one.seq, one.at_ms, one.command.SerializeToString(deterministic=True)) for one in chosen.commands()]


def by_session(chosen: SeedPlan) -> dict[str, list[PlannedMessage]]:
    found: defaultdict[str, list[PlannedMessage]] = defaultdict(list)
    for one in chosen.commands():
        found[one.command.session_id].append(one)
    return found


def test_plan_of_the_same_numbers_is_the_same() -> None:
    assert sent(plan()) == sent(plan())


def test_plan_of_the_same_day_is_the_same() -> None:
    assert sent(plan(now_ms=NOW_MS + 3_600_000)) == sent(plan())


def test_plan_of_another_seed_or_prefix_differs() -> None:
    assert sent(plan(seed=2)) != sent(plan())
    ids_of = [{one.command.session_id for one in plan(prefix=name).commands()} for name in ("seed", "other")]
    assert ids_of[0].isdisjoint(ids_of[1])


@given(
    st.builds(
        SeedSizes,
        months=st.integers(1, 7),
        sessions=st.integers(1, 30),
        groups=st.integers(0, 4),
        messages=st.integers(40, 400),
        users=st.integers(9, 40),
    ),
    st.integers(0, 5),
)
@settings(max_examples=20)
def test_persister_gives_the_planned_seq_and_time(sizes: SeedSizes, seed: int) -> None:
    chosen = plan(sizes, seed)
    drafts: dict[str, Draft] = {}
    total = 0
    for offset, one in enumerate(chosen.commands()):
        command = decode_command(one.command.SerializeToString())
        draft = drafts.setdefault(command.session_id, Draft.of(SessionState(), 0))
        record = Record(MESSAGES_INBOUND, 0, offset, one.at_ms, None, None)
        decision = decide(draft, command, record, 0)
        assert isinstance(decision, Accepted), decision
        assert (decision.stored.seq, decision.stored.at) == (one.seq, one.at_ms)
        assert ids.uuid7_time_ms(command.client_msg_id) == one.at_ms
        total += 1
    assert total == chosen.commands_total
    assert {name: draft.seq for name, draft in drafts.items()} == {
        session.session_id: chosen.length(session) for session in chosen.sessions
    }
    assert sum(session.messages for session in chosen.sessions) == sizes.messages


def test_times_ascend_per_session_and_step_back_a_day_at_most() -> None:
    chosen = plan()
    for messages in by_session(chosen).values():
        assert all(before.at_ms <= after.at_ms for before, after in pairwise(messages))
    times = [one.at_ms for one in chosen.commands()]
    assert all(after > before - ids.DAY_MS for before, after in pairwise(times))
    assert chosen.starts_at_ms <= min(times)
    assert max(times) < chosen.ends_at_ms <= NOW_MS
    assert chosen.ends_at_ms - chosen.starts_at_ms == 6 * MONTH_DAYS * ids.DAY_MS


def test_one_session_computed_again_equals_what_was_sent() -> None:
    chosen = plan()
    found = by_session(chosen)
    assert len(found) == len(chosen.sessions)
    for session in chosen.sessions:
        assert list(chosen.messages_of(session)) == found[session.session_id]


def test_few_sessions_have_most_messages_and_many_end_early() -> None:
    chosen = plan(SeedSizes(months=6, sessions=300, groups=10, messages=1_000_000, users=60))
    counts = sorted((session.messages for session in chosen.sessions), reverse=True)
    assert sum(counts[:31]) > 500_000
    assert counts[0] / 6 > 10_000
    assert min(counts) >= 1
    lives = Counter(session.last_day // MONTH_DAYS for session in chosen.sessions)
    assert lives[0] + lives[1] > 100
    assert lives[5] > 31


def test_members_join_in_month_3_and_are_removed_in_month_4() -> None:
    chosen = plan(SeedSizes(months=6, sessions=0, groups=3, messages=6_000, users=12))
    found = by_session(chosen)
    for session in chosen.sessions:
        month_of = {name: chosen.starts_at_ms + n * MONTH_DAYS * ids.DAY_MS for n, name in enumerate("123456")}
        at = {one.command.WhichOneof("action"): one.at_ms for one in found[session.session_id]}
        assert at["create_group"] == month_of["1"]
        assert at["add_members"] == month_of["3"]
        assert at["remove_member"] == month_of["4"]
        times = defaultdict(list)
        for one in found[session.session_id]:
            times[one.command.sender_id].append(one.at_ms)
        assert min(times[session.joining], default=NOW_MS) > at["add_members"]
        assert max(times[session.leaving], default=0) < at["remove_member"]


def test_pairs_of_users_are_different() -> None:
    chosen = plan(SeedSizes(months=1, sessions=36, groups=0, messages=36, users=9))
    assert len({session.session_id for session in chosen.sessions}) == 36


def test_texts_repeat_words() -> None:
    texts = b" ".join(one.command.post.body for one in islice(plan().commands(), 300))
    words = Counter(texts.split())
    assert sum(count for _, count in words.most_common(30)) > 0.35 * sum(words.values())


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        (SeedSizes(users=9, sessions=37, groups=0), "37; raise --users"),
        (SeedSizes(users=3, sessions=1, groups=1), "groups need 4 users"),
        (SeedSizes(messages=209), "raise --messages"),
        (SeedSizes(sessions=0, groups=0), "neither sessions nor groups"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: SeedSizes, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        plan(sizes)
