"""Every call and frame by users without the right: denied as documented, nothing stored, pushed or disclosed.

G10 and G11 on the real servers. The table in session_calls.py is held against the routes of the gateway itself.
"""

import statistics
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from deploy.local.stack import Stack
from tests.e2e.raw import answered, text
from tests.e2e.recount import Account, account_of
from tests.e2e.session_calls import (
    ABOUT_THE_CALLER,
    ADD,
    ADMIN,
    AUTHOR,
    CALLS,
    DOWNLOADS,
    NOTHING,
    OWNER,
    SEND,
    UPLOADER,
    Call,
    frames_of,
    unknown_user,
)
from tests.e2e.sweep import Sweep, sweeping
from tests.e2e.tables import tables_of
from tests.waiting import becomes, until
from tidings.ids import direct_session
from tidings.store import inbox_tails, session_tails
from tidings.store.base import Store

FAR_AWAY_MS = 4 * 10**12
# One more and the group is in read diffusion from the beginning.
WRITE_DIFFUSION_MAX = 500
# The answer to each where only admins may send and add (None: it is allowed), and what makes a member one.
_ANY: dict[str, str | None] = {NOTHING: None, UPLOADER: "media_not_found"}
_PLAIN = dict.fromkeys((SEND, AUTHOR, ADD, ADMIN, OWNER), "forbidden") | _ANY
_ADMIN = dict.fromkeys((SEND, AUTHOR, ADD, ADMIN), None) | {OWNER: "forbidden"} | _ANY
STANDINGS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str | None]]] = {
    "plain": ({}, _PLAIN),
    "muted": ({"muted_until": FAR_AWAY_MS}, _PLAIN | {SEND: "muted"}),
    "admin": ({"role": "admin"}, _ADMIN),
}
STATUS = {"session_not_found": 404, "media_not_found": 404, "muted": 403, "forbidden": 403}


@pytest.mark.promise("G11")
async def test_the_table_of_calls_has_every_route_of_the_gateway(stack: Stack) -> None:
    async with httpx2.AsyncClient(base_url=stack.url()) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    # A HEAD is answered as its GET, so the document does not have it.
    calls = {(one.method, one.route) for one in CALLS if one.method != "HEAD"}
    assert routes == calls | ABOUT_THE_CALLER


@pytest.mark.promise("G10", "G11")
async def test_group_on_the_stack_looks_missing_to_a_non_member(stack: Stack, figures: list[str]) -> None:
    async with tables_of(stack) as store, sweeping(stack) as sweep:
        guessed = "g:" + uuid.uuid4().hex
        crowd = [f"{sweep.names['alice']}-{number:03d}" for number in range(WRITE_DIFFUSION_MAX - 2)]
        groups = {
            "never in": await sweep.group(),
            "left": await sweep.removed(await sweep.group("eve"), "eve"),
            "removed": await sweep.removed(await sweep.group("eve"), "alice"),
            "removed from a large one": await sweep.removed(await sweep.group("eve", *crowd), "alice"),
            "dissolved": await sweep.dissolved(await sweep.group("eve")),
        }
        before = await stored(store, sweep, groups.values())
        for ordinal in range(stack.counts.gateways):
            expected = await answers_to_eve(sweep, guessed, ordinal)
            for what, name in groups.items():
                assert await answers_to_eve(sweep, name, ordinal) == expected, what
            # Of the dissolved one this is so for its owner, too.
            for one in CALLS:
                is_refused(
                    one, await sweep.tries(one, groups["dissolved"], ordinal, "alice"), one.hidden(groups["dissolved"])
                )
        await nothing_came_of_it(store, sweep, before)
        assert await session_tails.heads(store, [guessed]) == {}
        await nothing_more_is_pushed(sweep, groups)
        figures.append(f"no such session, or not for you: {times(sweep, groups, guessed)}")


@pytest.mark.promise("G11")
async def test_direct_session_looks_missing_to_a_non_member(
    stack: Stack,
) -> None:
    async with tables_of(stack) as store, sweeping(stack) as sweep:
        direct = direct_session(sweep.names["alice"], sweep.names["bob"])
        await sweep.says("bob", direct)
        await sweep.shows("bob", direct)
        before = await stored(store, sweep, [direct])
        for ordinal in range(stack.counts.gateways):
            assert await answers_to_eve(sweep, direct, ordinal) == await answers_to_eve(
                sweep, f"d:{uuid.uuid4().hex}:z", ordinal
            )
        await nothing_came_of_it(store, sweep, before)


@pytest.mark.promise("G10")
async def test_upload_before_the_joining_looks_missing(stack: Stack) -> None:
    async with sweeping(stack) as sweep:
        name = await sweep.group()
        await sweep.by("alice", "POST", f"/v1/groups/{name}/members", user_ids=[sweep.names["eve"]])
        guessed = "g:" + uuid.uuid4().hex
        for ordinal in range(stack.counts.gateways):
            for one in DOWNLOADS:
                expected = await answer_to_eve(sweep, one, guessed, ordinal)
                assert await answer_to_eve(sweep, one, name, ordinal) == expected
        await sweep.shows("bob", name)
        for ordinal in range(stack.counts.gateways):
            for one in DOWNLOADS:
                is_granted(one, await sweep.tries(one, name, ordinal))


@pytest.mark.promise("G10")
@pytest.mark.parametrize("what", list(STANDINGS))
async def test_a_member_is_denied_what_is_not_theirs_and_nothing_else(stack: Stack, what: str) -> None:
    async with tables_of(stack) as store, sweeping(stack) as sweep:
        only_admins = {"who_can_send": "admins", "who_can_add": "admins"}
        name = await sweep.group("eve")
        await sweep.by("alice", "PATCH", f"/v1/groups/{name}", settings=only_admins)
        changes, denied = STANDINGS[what]
        if changes:
            await sweep.by("alice", "PUT", f"/v1/groups/{name}/members/{sweep.names['eve']}", **changes)
        before = await stored(store, sweep, [name])
        for one in CALLS:
            for ordinal in range(stack.counts.gateways) if denied[one.needs] else ():
                is_refused(one, await sweep.tries(one, name, ordinal), denied[one.needs] or "")
        for needs, _, frame in frames_of(sweep.target(name)):
            if denied[needs]:
                error = await sweep.eves[0].asks(**frame)
                assert (error["type"], error["code"]) == ("send_error", denied[needs])
        await nothing_came_of_it(store, sweep, before)
        for one in CALLS:
            if not denied[one.needs]:
                # Bob may have been made an admin by the call before, and then no other admin touches him.
                await sweep.by("alice", "PUT", f"/v1/groups/{name}/members/{sweep.names['bob']}", role="member")
                is_granted(one, await sweep.tries(one, name, 0))
        for needs, _, frame in frames_of(sweep.target(name)):
            if needs == SEND and not denied[needs]:
                ack = await sweep.eves[0].asks(**frame)
                assert (ack["type"], ack["duplicate"]) == ("send_ack", False)


@pytest.mark.bad_input("B1")
async def test_a_wrong_command_gets_its_code_and_stores_nothing(stack: Stack) -> None:
    many = [f"user-{number}" for number in range(501)]
    async with tables_of(stack) as store, sweeping(stack) as sweep:
        name = await sweep.group("eve")
        gone = await sweep.removed(await sweep.group("eve"), "eve")
        path, wrong = f"/v1/groups/{name}", text("x", client_msg_id="wrong", session_id=name)
        make = {"client_msg_id": "wrong", "name": "T", "members": []}
        before = await stored(store, sweep, [name, gone])
        calls: list[tuple[str, str, str, Any, int, str]] = [
            ("alice", "DELETE", f"{path}/members/zoe", None, 409, "not_member"),
            ("alice", "PUT", f"{path}/members/zoe", {"role": "admin"}, 409, "not_member"),
            ("alice", "POST", f"{path}/transfer", {"user_id": "zoe"}, 409, "not_member"),
            ("alice", "DELETE", f"{path}/members/{sweep.names['alice']}", None, 403, "forbidden"),
            ("bob", "DELETE", f"{path}/members/zoe", None, 403, "forbidden"),
            ("bob", "DELETE", f"{path}/members/{sweep.names['eve']}", None, 403, "forbidden"),
            ("eve", "POST", "/v1/messages", wrong | {"session_id": gone}, 404, "session_not_found"),
            ("alice", "POST", "/v1/groups", make | {"name": "x" * 129}, 400, "invalid_frame"),
            ("alice", "POST", "/v1/groups", make | {"members": many}, 400, "invalid_frame"),
            ("alice", "POST", "/v1/groups", make | {"settings": {"share_history": "yes"}}, 400, "invalid_frame"),
            ("alice", "PATCH", path, {"name": "x" * 129}, 400, "invalid_frame"),
            ("alice", "PATCH", path, {"settings": {"colour": "red"}}, 400, "invalid_frame"),
            ("alice", "PATCH", path, {"settings": {"who_can_send": "bob"}}, 400, "invalid_frame"),
            ("alice", "POST", f"{path}/members", {"user_ids": many}, 400, "invalid_frame"),
            ("alice", "PUT", f"{path}/members/{sweep.names['bob']}", {"role": "owner"}, 400, "invalid_frame"),
            ("bob", "PUT", f"/v1/sessions/{name}/read", {"seq": 0}, 400, "invalid_frame"),
            *(("bob", "POST", "/v1/messages", wrong | {"reply_to": seq}, 400, "invalid_body") for seq in (4, 0, -1)),
        ]
        for who, method, target, body, status, code in calls:
            answer = await answered(sweep.rest[who][1], method, target, body)
            assert (answer.status_code, answer.json().get("code")) == (status, code), (method, target, answer.text)
        for seq in (4, 0, -1):
            error = await sweep.bobs[0].asks(type="send", **wrong, reply_to=seq)
            assert (error["type"], error["code"]) == ("send_error", "invalid_body")
        twice = [{"user_id": sweep.names[who], "code": "already_member"} for who in ("bob", "eve")]
        added = await sweep.by("bob", "POST", f"{path}/members", user_ids=[one["user_id"] for one in twice])
        assert added == {"session_id": name, "added": [], "left_out": twice}
        await nothing_came_of_it(store, sweep, before)


async def answers_to_eve(sweep: Sweep, session_id: str, ordinal: int) -> list[Any]:
    """The answers to eve's calls and frames, but for the ids; they are as documented."""
    calls = [one for one in CALLS if session_id.startswith("g:") or not one.is_of_groups]
    answers = [await answer_to_eve(sweep, one, session_id, ordinal) for one in calls]
    for _, hidden, frame in frames_of(sweep.target(session_id)):
        error = await sweep.eves[ordinal].asks(**frame)
        assert (error["code"], error.get("fatal", False)) == (hidden, False), (frame, error)
        answers.append({name: "…" if value == session_id else value for name, value in error.items()})
    return answers


async def answer_to_eve(sweep: Sweep, one: Call, session_id: str, ordinal: int) -> Any:
    """All of one answer but for the ids and the date; it is as documented."""
    answer = await sweep.tries(one, session_id, ordinal)
    is_refused(one, answer, one.hidden(session_id))
    media_id = sweep.target(session_id).media_id
    shown = [text.replace(session_id, "…").replace(media_id, "…") for text in (answer.text, *answer.headers.values())]
    return answer.status_code, dict(zip(("text", *answer.headers.keys()), shown, strict=True)) | {"date": ""}


def is_refused(one: Call, answer: httpx2.Response, code: str) -> None:
    """With this code; a batch is answered message by message, and a HEAD without a body."""
    if one.method == "HEAD":
        assert (answer.status_code, answer.content) == (STATUS[code], b""), one
    elif one.route.endswith(":batch"):
        assert [result["code"] for result in answer.json()["results"]] == [code], (one, answer.text)
    else:
        assert (answer.status_code, answer.json().get("code")) == (STATUS[code], code), (one, answer.text)


def is_granted(one: Call, answer: httpx2.Response) -> None:
    """And done."""
    if one.status is None:
        assert answer.is_success, (one, answer.status_code, answer.text)
    else:
        assert answer.status_code == one.status, (one, answer.text)
    if one.route.endswith(":batch"):
        assert [result["duplicate"] for result in answer.json()["results"]] == [False], answer.text


# -- nothing stored --------------------------------------------------------------------------------


async def stored(store: Store, sweep: Sweep, names: Iterable[str]) -> dict[str, Account]:
    """All rows of the sessions once their last ones are written.

    All but alice's watermarks, which she moves to see that receipts have come so far.
    """
    accounts, alice = dict[str, Account](), sweep.names["alice"]
    for name in names:

        async def is_whole(name: str = name) -> bool:
            accounts[name] = account = await account_of(store, name)
            rows = account.watermarks.values()
            return account.sent == {row.user_id: row.sent_seq for row in rows if row.sent_seq}

        await becomes(is_whole, True)
    return {
        name: replace(one, watermarks={user: row for user, row in one.watermarks.items() if user != alice})
        for name, one in accounts.items()
    }


async def nothing_came_of_it(store: Store, sweep: Sweep, before: Mapping[str, Account]) -> None:
    """No row is another, once what came before is through: a later read of alice by each gateway is stored."""
    alice = sweep.names["alice"]
    for name, account in before.items():
        if alice in account.joined:
            await sweep.reads("alice", name, account.head_seq)
    assert await stored(store, sweep, before) == before
    unknown = unknown_user(sweep.names["bob"])
    assert await inbox_tails.inbox_tails(store, [unknown]) == {unknown: 0}
    assert await store.media_refs(sweep.own["eve"], 1) == []
    for name in before:
        assert [ref.session_id for ref in await store.media_refs(sweep.images[name].media_id, 2)] == [name]


# -- nothing pushed --------------------------------------------------------------------------------


async def nothing_more_is_pushed(sweep: Sweep, groups: Mapping[str, str]) -> None:
    """The groups continue while eve stays connected: her devices and her inbox end with her memberships."""
    living = [name for what, name in groups.items() if what != "dissolved"]
    lasts = {}
    for name in living:
        await sweep.by("alice", "PATCH", f"/v1/groups/{name}", name="without eve")
        lasts[name] = await sweep.says("bob", name)
    await until(lambda: all(bob.known_head(name) == lasts[name] for bob in sweep.bobs for name in living), "bob knows")
    direct = direct_session(sweep.names["alice"], sweep.names["eve"])
    await sweep.says("alice", direct)
    await until(lambda: all(eve.seqs(direct) for eve in sweep.eves), "eve has what is hers")
    for what, name in groups.items():
        for eve in sweep.eves:
            assert eve.known_head(name) == sweep.seqs.get(name, 0), what
    page = (await sweep.rest["eve"][0].get("/v1/inbox")).json()
    newest = {item["message"]["session_id"]: item["message"]["seq"] for item in page["items"]}
    assert newest == sweep.seqs | {direct: 1}
    sessions = (await sweep.rest["eve"][1].get("/v1/sessions")).json()["sessions"]
    assert [one["session_id"] for one in sessions] == [direct]


def times(sweep: Sweep, groups: Mapping[str, str], guessed: str) -> str:
    """Medians, to be looked at."""
    there = [second for name in groups.values() for second in sweep.seconds[name]]
    return f"{statistics.median(there) * 1000:.1f} and {statistics.median(sweep.seconds[guessed]) * 1000:.1f} ms"
