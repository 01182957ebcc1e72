"""From a REST body to a checked command: what is refused, what is a repeat, what the log can rely on."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.protocol import group_commands as commands
from services.gateway.protocol.group_commands import Asker
from tidings import ids
from tidings.codec import decode_command
from tidings.errors import Refused
from tidings.groups import COMMAND_USERS, GROUP_NAME_POINTS
from tidings.runtime.settings import LimitSettings
from tidings.runtime.stamps import stamps_of
from tidings.wire.inbound_pb2 import Command

KEY = b"k" * 32
ALICE = Asker("alice", "m1")
GROUP = "g:" + "0" * 32
NOW_MS = 1_764_000_000_000
NOW_S = NOW_MS // 1_000
MISTAKEN_TIMES: list[object] = [
    NOW_S + 86_400,
    NOW_S * 10**6,
    NOW_S * 10**9,
    1,
    -NOW_S * 1000,
    2**53 - 1,
    253_402_300_800_000,
    1e18,
]

Making = Callable[[Any], Command]

MAKINGS: dict[str, Making] = {
    "create": lambda body: commands.creating(ALICE, KEY, body),
    "change": lambda body: commands.changing(ALICE, GROUP, body),
    "add": lambda body: commands.adding(ALICE, GROUP, body),
    "member": lambda body: commands.changing_member(ALICE, GROUP, "bob", body),
    "transfer": lambda body: commands.transferring(ALICE, GROUP, body),
}


def users(count: int) -> list[str]:
    return [f"user-{number}" for number in range(count)]


# -- ids -------------------------------------------------------------------------------------------


def test_group_id_is_derived_from_creator_client_msg_id_and_key() -> None:
    one = commands.group_id(KEY, ALICE)
    assert ids.is_group_session(one)
    assert len(one) == 2 + 32
    assert one == commands.group_id(KEY, Asker("alice", "m1"))
    others = [(KEY, Asker("alice", "m2")), (KEY, Asker("bob", "m1")), (b"x" * 32, ALICE), (KEY, Asker("alic", "e m1"))]
    assert len({one, *(commands.group_id(key, asker) for key, asker in others)}) == 5


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_made_for_a_call_without_one_is_a_uuidv7_of_now(wall_ms: int, random: bytes) -> None:
    assert ids.uuid7_time_ms(commands.made_client_msg_id(wall_ms, random)) == wall_ms


def test_ids_of_one_millisecond_differ_by_all_random_bits() -> None:
    made = {commands.made_client_msg_id(NOW_MS, bytes([0] * at + [1] + [0] * (9 - at))) for at in range(10)}
    assert len(made) == 10


@pytest.mark.parametrize(
    ("client_msg_id", "code"),
    [
        ("", "invalid_frame"),
        ("x" * 65, "invalid_frame"),
        (5, "invalid_frame"),
        ("fffffff0-0000-7000-8000-000000000000", "clock_skew"),
        ("01800000-0000-7000-8000-000000000000", "too_old"),
    ],
)
def test_client_msg_id_of_no_use_or_out_of_time_is_refused(client_msg_id: object, code: str) -> None:
    with pytest.raises(Refused) as refused:
        commands.checked_asker("alice", client_msg_id, NOW_MS)
    assert refused.value.code == code


@pytest.mark.parametrize("session_id", ["d:alice:bob", "g:", "x", "g:a b", "g:" + "x" * 65])
def test_only_a_groups_id_names_a_group(session_id: str) -> None:
    with pytest.raises(Refused, match="invalid_frame"):
        commands.checked_group(session_id)


# -- content ---------------------------------------------------------------------------------------


def test_creator_is_a_member_and_each_user_counts_once() -> None:
    command = commands.creating(ALICE, KEY, {"name": "Team", "members": ["bob", "carol", "bob"]})
    assert list(command.create_group.member_ids) == ["alice", "bob", "carol"]
    assert not command.create_group.HasField("settings")
    assert (command.sender_id, command.client_msg_id, command.attempt) == ("alice", "m1", 1)
    assert command.session_id == commands.group_id(KEY, ALICE)


def test_only_settings_that_are_given_are_changed() -> None:
    body = {"settings": {"share_history": False, "who_can_send": None, "who_can_add": "", "colour": "red"}}
    command = commands.changing(ALICE, GROUP, body)
    given = {field.name: value for field, value in command.change_group.settings.ListFields()}
    assert given == {"share_history": False}
    assert not command.change_group.HasField("name")


def test_zero_lifts_a_mute_and_an_absent_time_changes_none() -> None:
    lifted = commands.changing_member(ALICE, GROUP, "bob", {"muted_until": 0.0}).change_member
    assert lifted.HasField("muted_until_ms")
    assert lifted.muted_until_ms == 0
    raised = commands.changing_member(ALICE, GROUP, "bob", {"role": "admin", "muted_until": None}).change_member
    assert (raised.role, raised.HasField("muted_until_ms")) == ("admin", False)


@pytest.mark.parametrize(
    ("making", "one", "same"),
    [
        ("create", {"name": "T", "members": ["bob", "carol"]}, {"name": "T", "members": ["carol", "alice", "bob"]}),
        ("add", {"user_ids": ["bob", "carol"]}, {"user_ids": ["carol", "bob", "bob"], "unknown": 1}),
        ("member", {"muted_until": 10**12}, {"muted_until": 1e12, "role": ""}),
    ],
)
def test_order_of_users_and_spelling_of_numbers_are_no_content(making: str, one: object, same: object) -> None:
    assert MAKINGS[making](one).digest == MAKINGS[making](same).digest


@pytest.mark.field_case("24")
@pytest.mark.parametrize("at_s", MISTAKEN_TIMES)
def test_a_time_that_can_only_be_a_mistake_is_refused(at_s: object) -> None:
    with pytest.raises(Refused, match="milliseconds") as refused:
        commands.changing_member(ALICE, GROUP, "bob", {"muted_until": at_s})
    assert refused.value.code == "invalid_frame"


@pytest.mark.parametrize("at_ms", [0, NOW_MS + 1, NOW_MS - 1, 253_402_300_799_999])
def test_a_time_in_milliseconds_is_taken_also_when_it_has_passed(at_ms: int) -> None:
    """A repeat may come after its time."""
    command = commands.changing_member(ALICE, GROUP, "bob", {"muted_until": at_ms})
    assert command.change_member.muted_until_ms == at_ms


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_null_and_empty_count_as_absent_in_a_group_call(empty: object) -> None:
    made = commands.creating(ALICE, KEY, {"name": "T", "members": empty, "settings": empty})
    assert made.digest == commands.creating(ALICE, KEY, {"name": "T"}).digest
    changed = commands.changing_member(ALICE, GROUP, "bob", {"role": "admin", "muted_until": empty})
    assert changed.digest == commands.changing_member(ALICE, GROUP, "bob", {"role": "admin"}).digest


def test_whatever_differs_in_meaning_differs_in_digest() -> None:
    made = [
        commands.creating(ALICE, KEY, {"name": "T", "members": []}),
        commands.creating(ALICE, KEY, {"name": "U", "members": []}),
        commands.creating(ALICE, KEY, {"name": "T", "members": ["bob"]}),
        commands.creating(ALICE, KEY, {"name": "T", "members": [], "settings": {"share_history": False}}),
        commands.changing(ALICE, GROUP, {"name": "T"}),
        commands.changing(ALICE, GROUP, {"settings": {"who_can_add": "admins"}}),
        commands.changing(ALICE, GROUP, {"settings": {"who_can_send": "admins"}}),
        commands.adding(ALICE, GROUP, {"user_ids": ["bob"]}),
        commands.adding(ALICE, GROUP, {"user_ids": ["carol"]}),
        commands.removing(ALICE, GROUP, "bob"),
        commands.transferring(ALICE, GROUP, {"user_id": "bob"}),
        commands.changing_member(ALICE, GROUP, "bob", {"role": "member"}),
        commands.changing_member(ALICE, GROUP, "bob", {"muted_until": 0}),
        commands.dissolving(ALICE, GROUP),
    ]
    assert len({command.digest for command in made}) == len(made)


def test_added_members_weigh_on_the_rate_limit() -> None:
    weights = [
        commands.weight(commands.adding(ALICE, GROUP, {"user_ids": users(40)})),
        commands.weight(commands.creating(ALICE, KEY, {"name": "T", "members": users(9)})),
        commands.weight(commands.dissolving(ALICE, GROUP)),
    ]
    assert weights == [40, 10, 1]


# -- what is refused -------------------------------------------------------------------------------

BAD_BODIES: list[tuple[str, dict[str, object]]] = [
    ("create", {}),
    ("create", {"members": []}),
    ("create", {"name": "", "members": []}),
    ("create", {"name": "  ", "members": []}),
    ("create", {"name": 5, "members": []}),
    ("create", {"name": "x" * (GROUP_NAME_POINTS + 1), "members": []}),
    ("create", {"name": "a\nb", "members": []}),
    ("create", {"name": "a\x00", "members": []}),
    ("create", {"name": "\u2800", "members": []}),
    ("create", {"name": "a\u061cb", "members": []}),
    ("change", {"name": "\u3164"}),
    ("create", {"name": "T", "members": "bob"}),
    ("create", {"name": "T", "members": [5]}),
    ("create", {"name": "T", "members": ["a b"]}),
    ("create", {"name": "T", "members": [["bob"]]}),
    ("create", {"name": "T", "members": users(COMMAND_USERS + 1)}),
    ("create", {"name": "T", "members": [], "settings": [1]}),
    ("create", {"name": "T", "members": [], "settings": {"share_history": 1}}),
    ("create", {"name": "T", "members": [], "settings": {"who_can_send": "owner"}}),
    ("create", {"name": "T", "members": [], "settings": {"who_can_add": ["all"]}}),
    ("change", {}),
    ("change", {"name": None, "settings": {}}),
    ("change", {"settings": {"colour": "red"}}),
    ("change", {"name": "x" * (GROUP_NAME_POINTS + 1)}),
    ("change", {"name": True}),
    ("add", {}),
    ("add", {"user_ids": []}),
    ("add", {"user_ids": {"bob": 1}}),
    ("add", {"user_ids": users(COMMAND_USERS + 1)}),
    ("member", {}),
    ("member", {"role": "owner"}),
    ("member", {"role": "chief"}),
    ("member", {"role": ["admin"]}),
    ("member", {"muted_until": -1}),
    ("member", {"muted_until": "tomorrow"}),
    ("member", {"muted_until": True}),
    ("member", {"muted_until": 2**53}),
    *(("member", {"muted_until": at}) for at in MISTAKEN_TIMES),
    ("transfer", {}),
    ("transfer", {"user_id": "a b"}),
    ("transfer", {"user_id": ["bob"]}),
]


@pytest.mark.parametrize(("making", "body"), BAD_BODIES)
def test_malformed_body_is_an_invalid_frame_with_advice(making: str, body: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        MAKINGS[making](body)
    assert refused.value.code == "invalid_frame"
    assert len(refused.value.text) > 10


def test_the_largest_command_is_taken() -> None:
    name = "\N{GRINNING FACE}" * GROUP_NAME_POINTS
    command = commands.creating(ALICE, KEY, {"name": name, "members": users(COMMAND_USERS)})
    assert len(command.create_group.member_ids) == COMMAND_USERS + 1
    assert len(commands.adding(ALICE, GROUP, {"user_ids": users(COMMAND_USERS) * 2}).add_members.user_ids) == 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
user_ids = st.sampled_from(["alice", "bob", "carol", "a b", ""])
settings_values = st.fixed_dictionaries(
    {},
    optional={
        "share_history": st.booleans() | json_values,
        "who_can_send": st.sampled_from(["all", "admins"]) | json_values,
        "who_can_add": st.sampled_from(["all", "admins"]) | json_values,
    },
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=GROUP_NAME_POINTS + 2) | json_values,
        "members": st.lists(user_ids, max_size=4) | json_values,
        "user_ids": st.lists(user_ids, max_size=4) | json_values,
        "user_id": user_ids | json_values,
        "settings": settings_values | json_values,
        "role": st.sampled_from(["admin", "member", "owner"]) | json_values,
        "muted_until": st.integers(-1, 2**53) | json_values,
    },
)


def made(making: str, body: dict[str, object]) -> Command | str:
    """The command, or the code of the refusal."""
    try:
        return MAKINGS[making](body)
    except Refused as refused:
        return refused.code


@given(st.sampled_from(sorted(MAKINGS)), bodies)
def test_any_body_is_refused_with_a_code_or_becomes_a_command(making: str, body: dict[str, object]) -> None:
    command = made(making, body)
    if isinstance(command, str):
        assert command == "invalid_frame"
    else:
        command.stamps.CopyFrom(stamps_of(LimitSettings()))
        assert decode_command(command.SerializeToString()) == command
