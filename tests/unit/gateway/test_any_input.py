"""Whatever arrives, nothing crashes: frames, REST bodies, push records, tokens."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.connections.endpoint import WebSocketEndpoint
from services.gateway.connections.live import LiveAnswers
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.protocol.connection import Connection
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.frames import Malformed, Ping, decode_line
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.limits import MAX_DEPTH, SOCKET_PATH, SUBPROTOCOL
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.protocol.send_queue import SendQueueLimits
from services.gateway.push.router import PushRouter
from services.gateway.reads.build import build_reads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.session_order import SessionOrders
from services.gateway.reads.sessions import SessionReads
from services.gateway.rest.build import RestRules, build_rest
from services.gateway.rest.edges import App
from services.gateway.submit.build import SubmitRules, build_submit
from services.gateway.submit.latency import AckLatency
from services.gateway.submit.pending_calls import PendingCalls
from services.gateway.submit.publisher import GatewayIdentity, Publisher
from services.gateway.tokens import Tokens, issue, secret_key
from tidings import topics
from tidings.broker.memory import MemoryBroker
from tidings.clock import SystemClock
from tidings.errors import HTTP_STATUS, Refused
from tidings.store.memory import MemoryStore
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Message, Origin, Refusal, Stamps
from tidings.wire.push_pb2 import Live, Push, PushedMessage, SendAck, SendError

SIZES = TopicSizes(1, 1, 1)
SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
CLOCK = SystemClock()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["token", "device_id", "ref", "client_msg_id", "session_id", "to", "kind", "body", "reply_to", "mentions", "id"]
)
numbers = st.sampled_from(["attempt", "after", "limit", "inbox_seq", "delivered", "seq"])
known_values = st.sampled_from(
    ["bob", "d:alice:bob", "text", "image", "file", "custom", "m1", {"text": "hi"}, 1, 0, -1]
)
group_names = st.sampled_from(
    ["client_msg_id", "name", "members", "user_ids", "user_id", "settings", "role", "muted_until"]
)
group_values = st.sampled_from(["bob", "admin", ["bob"], {"share_history": True}, {"who_can_add": "all"}, 0])
almost_groups = st.dictionaries(group_names, group_values | json_values, max_size=6)
kinds = st.sampled_from(["hello", "send", "sync", "ack", "read", "ping", "pong", "other"])
almost_frames = st.builds(
    lambda kind, fields: json.dumps({"type": kind, **fields}),
    kinds,
    st.dictionaries(names | numbers, known_values | json_values, max_size=8),
)
lines = st.text() | almost_frames | json_values.map(json.dumps) | st.binary().map(lambda b: b.decode("latin-1"))


def verify(_token: str, _wall_ms: int) -> Identity:
    return Identity("alice", 3_600_000)


@pytest.mark.bad_input("B1")
@given(lines)
def test_any_line_is_a_frame_or_gets_an_error(line: str) -> None:
    decoded = decode_line(line)
    assert not isinstance(decoded, Malformed) or decoded.text


@given(st.integers(1, 60))
def test_depth_is_counted_outside_of_strings(depth: int) -> None:
    inner = '{"type":"ping","id":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\"[[[["}'
    assert not isinstance(decode_line(inner), Malformed)
    deep = '{"type":"ping","x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}" if depth > 1 else '{"type":"ping"}'
    assert isinstance(decode_line(deep), Malformed) == (depth > MAX_DEPTH)


@pytest.mark.bad_input("B1")
@given(st.lists(st.lists(lines, max_size=4).map("\n".join), max_size=6))
def test_signed_in_connection_answers_any_message_in_json(messages: list[str]) -> None:
    connection = Connection("c", ConnectionRules(verify), 0)
    connection.received('{"type":"hello","token":"t","device_id":"d"}', 0, 10**12)
    for text in messages:
        connection.received(text, 0, 10**12)
    while taken := connection.take_outgoing():
        for line in taken.split("\n"):
            json.loads(line)


events = st.sampled_from(["deliver", "push", "tick", "ack", "take", "sync", "live", "beat"])


@pytest.mark.bad_input("B5")
@given(st.lists(st.tuples(events, st.integers(0, 20)), max_size=200))
def test_an_outbox_never_grows_above_its_bounds(steps: list[tuple[str, int]]) -> None:
    limits = SendQueueLimits(deliveries=10, buffered_bytes=2_000)
    connection = Connection("c", ConnectionRules(verify, send_queue=limits), 0)
    connection.received('{"type":"hello","token":"t","device_id":"d"}', 0, 10**12)
    now_ms = 0
    for event, number in steps:
        now_ms += number * 500
        match event:
            case "deliver":
                connection.deliver(number, b'"' + b"x" * 50 + b'"', now_ms)
            case "push":
                connection.push(b'"' + b"y" * number + b'"')
            case "tick":
                connection.ticked(now_ms)
            case "ack":
                connection.received(json.dumps({"type": "ack", "inbox_seq": number}), now_ms, 10**12)
            case "sync":
                connection.received('{"type":"sync","after":0}', now_ms, 10**12)
            case "live":
                connection.went_live(number, {"g:x": number}, now_ms)
            case "beat":
                connection.beat(number, {"g:x": number})
            case _:
                connection.take_outgoing()
        outbox = connection._send_queue
        assert outbox.unacknowledged <= 10
        assert outbox._frame_bytes + outbox._unacked_bytes <= 2_000 + 200
        assert outbox._frame_bytes == sum(map(len, outbox._frames))
        assert outbox._unacked_bytes == sum(len(delivery.message_json) for delivery in outbox._unacked)


@pytest.mark.bad_input("B1")
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_any_token_is_refused_with_a_code(token: str) -> None:
    tokens = Tokens([secret_key(SECRET)], "tidings")
    with pytest.raises(Refused) as refused:
        tokens.verify(token, 10**12)
    assert refused.value.code in ("unauthorized", "token_expired")


# -- push records ----------------------------------------------------------------------------------

small_text = st.text(max_size=12)
int64 = st.integers(-(2**63), 2**63 - 1)
messages = st.builds(
    Message,
    message_id=int64,
    session_id=small_text,
    seq=int64,
    at_ms=int64,
    body=st.binary(max_size=20) | st.just(b'{"a":\n1}') | st.just(b"{}"),
    reply_to=int64,
    mentions=st.lists(small_text, max_size=2),
)
user_ids = st.lists(st.just("alice") | small_text, max_size=3)
origins = st.builds(Origin, connection_id=st.just("0-7-1") | small_text, ref=small_text)
pushes = st.builds(Push, gateway_epoch=st.just(7) | int64) | st.one_of(
    st.builds(PushedMessage, message=messages, user_ids=user_ids, inbox_seqs=st.lists(int64, max_size=3)).map(
        lambda content: Push(gateway_epoch=7, message=content)
    ),
    st.builds(SendAck, origin=origins, client_msg_id=small_text, message_id=int64, seq=int64).map(
        lambda content: Push(gateway_epoch=7, send_ack=content)
    ),
    st.builds(SendError, origin=origins, refusal=st.builds(Refusal, code=small_text, text=small_text)).map(
        lambda content: Push(gateway_epoch=7, send_error=content)
    ),
    st.builds(Live, user_id=user_ids.map("".join), connection_id=st.just("0-7-1"), inbox_seq=int64).map(
        lambda content: Push(gateway_epoch=7, live=content)
    ),
)
records = st.none() | st.binary(max_size=60) | pushes.map(lambda push: push.SerializeToString())


@pytest.mark.bad_input("B4")
@given(st.lists(records, max_size=8))
def test_any_push_record_leaves_the_connection_with_whole_frames(values: list[bytes | None]) -> None:
    asyncio.run(_route(values))


async def _route(values: list[bytes | None]) -> None:
    sent: list[str] = []

    async def send(event: Any) -> None:
        sent.append(event.get("text", ""))

    publisher = await _publisher()
    registry = ConnectionRegistry(ConnectionRules(verify), publisher, CLOCK, "0-7")
    store = MemoryStore()
    memberships = Memberships(store)
    sessions = SessionReads(store, MessageReads(store, CLOCK, 0), memberships)
    lives = LiveAnswers(registry, store, memberships, sessions, CLOCK)
    router = PushRouter(registry, PendingCalls(10), AckLatency(), lives, SessionOrders(), 7, CLOCK)
    link = registry.open(send)
    link.connection.received('{"type":"hello","token":"t","device_id":"d"}', 0, 10**12)
    registry.sign_in(link)
    for value in values:
        router.take(value)
    registry.settle(link)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for text in sent:
        for line in text.split("\n"):
            json.loads(line)
    registry.close(link)
    await publisher.flush(1)


async def test_connection_that_fails_with_its_hello_is_not_registered() -> None:
    async def send(_event: Any) -> None:
        pass

    publisher = await _publisher()
    registry = ConnectionRegistry(ConnectionRules(verify), publisher, CLOCK, "0-7")
    link = registry.open(send)
    link.connection.received('{"type":"hello","token":"t","device_id":"d"}\n{', 0, 10**12)
    registry.settle(link)
    registry.sign_in(link)
    assert (len(registry), len(registry.of_user("alice"))) == (0, 0)
    registry.close(link)
    await publisher.flush(1)


async def _publisher() -> Publisher:
    broker = MemoryBroker()
    await broker.admin().create_topics(topics.declared(SIZES), 1)
    return Publisher(broker.producer("g"), GatewayIdentity(0, 7), SIZES, Stamps(rules=1))


# -- REST ------------------------------------------------------------------------------------------


async def _app() -> App:
    store, producer = MemoryStore(), MemoryBroker().producer("g")
    reads = build_reads(store, CLOCK)
    # No persister and no receipts are behind this gateway: a message that is well-formed finds the table full.
    rules = SubmitRules(SIZES, Stamps(rules=1), messages_per_s=1000, burst=1000, pending_calls=0)
    submit = build_submit(producer, GatewayIdentity(0, 7), reads, store, CLOCK, rules)
    verify = Tokens([secret_key(SECRET)], "tidings").verify
    return build_rest(
        reads, submit, CLOCK, RestRules(verify, SECRET.encode(), "tidings", b"k" * 32, store.deployment.fields())
    )


requests = st.tuples(
    st.sampled_from(
        [
            ("POST", "/v1/tokens"),
            ("POST", "/v1/messages"),
            ("POST", "/v1/messages:batch"),
            ("PUT", "/v1/sessions/d:alice:bob/read"),
            ("POST", "/v1/groups"),
            ("PATCH", "/v1/groups/g:any"),
            ("DELETE", "/v1/groups/g:any"),
            ("POST", "/v1/groups/g:any/members"),
            ("PUT", "/v1/groups/g:any/members/bob"),
            ("DELETE", "/v1/groups/g:any/members/bob"),
            ("POST", "/v1/groups/g:any/transfer"),
        ]
    ),
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | almost_frames.map(str.encode)
    | almost_groups.map(lambda fields: json.dumps(fields).encode())
    | st.lists(almost_frames, max_size=3).map(lambda items: ('{"messages":[' + ",".join(items) + "]}").encode()),
)
queries = st.tuples(
    st.sampled_from(
        [
            "/v1/inbox",
            "/v1/sessions",
            "/v1/sessions/d:alice:bob/messages",
            "/v1/sessions/d:alice:bob/messages/1/receipts",
            "/v1/groups/g:any",
            "/v1/groups/g:any/members",
        ]
    ),
    st.dictionaries(
        st.sampled_from(["after", "limit", "before", "before_seq", "after_seq"]),
        small_text | int64.map(str),
        max_size=3,
    ),
)


@pytest.mark.bad_input("B1")
@settings(max_examples=20)
@given(st.lists(requests, max_size=12), st.lists(queries, max_size=12), st.lists(small_text, max_size=3))
def test_any_call_is_answered_without_a_crash(
    calls: list[tuple[tuple[str, str], bytes]], reads: list[tuple[str, dict[str, str]]], paths: list[str]
) -> None:
    asyncio.run(_call(calls, reads, paths))


async def _call(
    calls: list[tuple[tuple[str, str], bytes]], reads: list[tuple[str, dict[str, str]]], paths: list[str]
) -> None:
    token, _ = issue(SECRET.encode(), "tidings", "alice", CLOCK.wall_ms(), 60)
    transport: Any = httpx2.ASGITransport(app=await _app())
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://g", headers=headers) as http:
        responses = [await http.request(method, path, content=content) for (method, path), content in calls]
        responses += [await http.get(path, params=query) for path, query in reads]
        responses += [await http.get(f"/v1/sessions/{quote(path, safe='')}") for path in paths]
    for response in responses:
        body = response.json()
        if response.status_code >= 400:
            assert response.status_code < 500 or body["code"] == "unavailable"
            assert body["code"] in HTTP_STATUS
            assert response.headers["content-type"] == "application/problem+json"


async def answer_to(method: str, path: str, **request: Any) -> httpx2.Response:
    token, _ = issue(SECRET.encode(), "tidings", "alice", CLOCK.wall_ms(), 60)
    transport: Any = httpx2.ASGITransport(app=await _app())
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://g", headers=headers) as http:
        return await http.request(method, path, **request)


@pytest.mark.parametrize(("limit", "status"), [("0" * 17, 400), ("9" * 5_000, 200), ("0" * 5_000 + "7", 200)])
async def test_a_limit_is_judged_by_its_value(limit: str, status: int) -> None:
    assert (await answer_to("GET", f"/v1/inbox?limit={limit}")).status_code == status


@pytest.mark.parametrize(("ttl_s", "status"), [(0, 400), (0.0, 400), (False, 400), (60.0, 200), ("", 200), (None, 200)])
async def test_a_time_to_live_of_0_is_refused(ttl_s: object, status: int) -> None:
    answer = await answer_to("POST", "/v1/tokens", json={"user_id": "alice", "ttl_s": ttl_s})
    assert answer.status_code == status


async def test_a_read_mark_may_be_a_whole_float() -> None:
    answer = await answer_to("PUT", "/v1/sessions/d:alice:bob/read", json={"seq": 5.0})
    assert answer.status_code == 200


async def test_a_wrong_method_names_the_right_ones() -> None:
    answer = await answer_to("DELETE", "/v1/inbox")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_message_without_an_id_gets_both_ways_to_give_it() -> None:
    answer = await answer_to("POST", "/v1/messages", json={"to": "bob"})
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_a_lone_surrogate_in_a_call_is_named() -> None:
    answer = await answer_to("POST", "/v1/messages", content=b'{"to":"\\ud800"}')
    assert "surrogate" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("scope", "status", "code"),
    [
        ({"path": "/elsewhere"}, 404, "invalid_frame"),
        ({"headers": [(b"origin", b"https://evil.example")]}, 403, "origin_not_allowed"),
        ({"subprotocols": []}, 400, "invalid_frame"),
    ],
)
async def test_a_refused_handshake_is_a_problem_with_a_code(scope: dict[str, Any], status: int, code: str) -> None:
    registry = ConnectionRegistry(ConnectionRules(verify), await _publisher(), CLOCK, "0-7")
    parts: tuple[Any, ...] = (registry, None, None, None, CLOCK, AllowedOrigins(), 1)
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    await WebSocketEndpoint(*parts)(
        {"path": SOCKET_PATH, "headers": [], "subprotocols": [SUBPROTOCOL], **scope}, receive, send
    )
    begin, body = said
    assert (begin["status"], json.loads(body["body"])["code"]) == (status, code)
    assert (b"content-type", b"application/problem+json") in begin["headers"]


@pytest.mark.field_case("36")
def test_a_byte_order_mark_before_a_line_is_ignored() -> None:
    """As REST ignores it; one inside of a text stays."""
    assert decode_line('\ufeff{"type":"ping","id":"\ufeff"}') == Ping(id="\ufeff")
    assert decode_line('\ufeff\ufeff{"type":"ping"}') == Malformed(True, "not JSON")
