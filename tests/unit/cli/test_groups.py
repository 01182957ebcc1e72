"""The verbs about groups."""

import pytest

from tests.unit.cli.gateway import AS_ALICE, GROUP, Gateway
from tests.unit.cli.shell import Shell

ALICE = {"user_id": "alice", "role": "owner", "joined_seq": 1}
LATE = 2**53 - 1  # beyond all calendars


@pytest.mark.parametrize(("left_out", "printed"), [([], ""), (["bob"], "left out: bob (user_blocked)\n")])
def test_a_group_is_made_and_its_id_printed(gateway: Gateway, shell: Shell, left_out: list[str], printed: str) -> None:
    refused = [{"user_id": name, "code": "user_blocked"} for name in left_out]
    gateway.answers["POST /v1/groups"] = {"session_id": GROUP, "seq": 1, "left_out": refused}
    assert shell.run("group", "create", *AS_ALICE, "the team", "bob", "carol") == (0, f"{GROUP}\n", printed)
    assert gateway.bodies == [{"name": "the team", "members": ["bob", "carol"]}]


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("remove", GROUP, "bob"), f"DELETE /v1/groups/{GROUP}/members/bob"),
        (("leave", GROUP), f"DELETE /v1/groups/{GROUP}/members/alice"),
        (("transfer", GROUP, "bob"), f"POST /v1/groups/{GROUP}/transfer"),
        (("role", GROUP, "bob", "admin"), f"PUT /v1/groups/{GROUP}/members/bob"),
        (("mute", GROUP, "bob", "--until", "2026-03-01"), f"PUT /v1/groups/{GROUP}/members/bob"),
        (("rename", GROUP, "crew"), f"PATCH /v1/groups/{GROUP}"),
        (("dissolve", GROUP, "--yes"), f"DELETE /v1/groups/{GROUP}"),
    ],
)
def test_a_change_of_a_group_prints_its_seq(
    gateway: Gateway, shell: Shell, arguments: tuple[str, ...], call: str
) -> None:
    gateway.answers[call] = {"session_id": GROUP, "seq": 9}
    ended = shell.run("group", *arguments, *AS_ALICE)
    assert (ended.code, ended.out) == (0, f"done  {GROUP} #9\n")


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (("role", GROUP, "bob", "member"), {"role": "member"}),
        (("mute", GROUP, "bob", "--until", "2026-03-01T12:00:00Z"), {"muted_until": 1_772_366_400_000}),
        (("mute", GROUP, "bob", "--off"), {"muted_until": 0}),
        (("transfer", GROUP, "bob"), {"user_id": "bob"}),
    ],
)
def test_a_change_of_a_member_is_sent(
    gateway: Gateway, shell: Shell, arguments: tuple[str, ...], body: dict[str, object]
) -> None:
    shell.run("group", *arguments, *AS_ALICE)
    assert gateway.bodies == [body]


@pytest.mark.parametrize("given", [(), ("--off", "--until", "2026-03-01")])
def test_a_mute_takes_one_end(gateway: Gateway, shell: Shell, given: tuple[str, ...]) -> None:
    ended = shell.run("group", "mute", GROUP, "bob", *given, *AS_ALICE)
    assert ended.code == 2
    assert "--until TIME or --off" in " ".join(ended.err.split())


def test_left_out_users_are_printed(gateway: Gateway, shell: Shell) -> None:
    left_out = [{"user_id": "bob", "code": "already_member"}]
    gateway.answers[f"POST /v1/groups/{GROUP}/members"] = {"session_id": GROUP, "added": [], "left_out": left_out}
    ended = shell.run("group", "add", GROUP, "bob", *AS_ALICE)
    assert (ended.code, ended.out) == (0, "0 added\nleft out: bob (already_member)\n")


def test_the_members_are_listed_and_what_the_group_is(gateway: Gateway, shell: Shell) -> None:
    gateway.has_member("te\x1bam", ALICE)
    code, out, _ = shell.run("group", "members", GROUP, *AS_ALICE)
    printed = "owner   alice  since #1\nte\ufffdam: 1 members, delivered by write diffusion\n"
    assert (code, out) == (0, printed)


def test_a_mute_beyond_all_calendars_is_listed_like_others(gateway: Gateway, shell: Shell) -> None:
    gateway.has_member("team", {"user_id": "bob", "role": "member", "joined_seq": 1, "muted_until": LATE})
    ended = shell.run("group", "members", GROUP, *AS_ALICE)
    assert ended.code == 0
    assert "muted until 9999-12-" in ended.out
