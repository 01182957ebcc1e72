"""Push records: whatever they hold, a connection is sent whole frames; an ack moves the sender's session."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.parts import parts
from tests.unit.gateway.protocol.lines import int64, small_text
from tests.unit.gateway.reads.session_world import friends, world_with
from tidings.wire.common_pb2 import Message, Origin, Refusal
from tidings.wire.push_pb2 import Live, Push, PushedMessage, SendAck, SendError

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
    gateway = await parts()
    link = gateway.sign_in("alice")
    for value in values:
        gateway.router.take(value)
    registry = gateway.connections.registry
    registry.settle(link)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for text in gateway.sent:
        for line in text.split("\n"):
            json.loads(line)
    registry.close(link)
    await gateway.submit.publisher.flush(1)


async def test_ack_moves_the_session_of_a_socket_or_rest_sender() -> None:
    world = await world_with(9)
    gateway = await parts(world.store, world.clock)
    world.lists = gateway.reads.session_lists
    await world.names()
    link = gateway.sign_in("bob")
    waiting = gateway.submit.pending.open("bob").name
    for name, origin in ((friends(9)[2], link.connection.connection_id), (friends(9)[1], waiting)):
        at_ms = await world.store_message(name)
        origin_of_ack = Origin(connection_id=origin)
        gateway.push(send_ack=SendAck(origin=origin_of_ack, client_msg_id="m", session_id=name, seq=2, at_ms=at_ms))
        assert (await world.page(1))[0] == [name]
    gateway.connections.registry.close(link)
    await gateway.submit.publisher.flush(1)
