"""What a round sends to the gateways."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from services.fanout.inbox import Placed
from services.fanout.presence import Gateways, Presences
from services.fanout.pushes import Pushes
from tests.unit.fanout.items import item
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.presence_pb2 import Presence, PresenceKey

# Users by user partition.
USERS = {0: ("ann", "bob", "cid"), 1: ("dan", "eve"), 2: ("fay",)}


def presences() -> Presences:
    """Gateways 1 and 2 have users of all partitions; bob has a device at each, cid is offline."""
    gateways = Gateways()
    for gateway in (1, 2):
        gateways.apply(GatewayEvent(gateway=gateway, state=GatewayEvent.STATE_STARTED), gateway * 10)
    known = Presences(gateways)
    for user, gateway in (("ann", 1), ("bob", 1), ("bob", 2), ("dan", 1), ("eve", 2), ("fay", 1)):
        key = PresenceKey(user_id=user, device_id="phone", gateway=gateway)
        known.here(key, Presence(gateway_epoch=gateway * 10, connection_id="c", state=Presence.STATE_HERE), 0)
    return known


def test_the_parts_of_a_message_share_a_record_per_gateway() -> None:
    pushes = Pushes(presences())
    for partition, users in USERS.items():
        pushes.add(item(7, users), [Placed(user, 3) for user in users], partition)
    sent = dict(pushes.records())
    assert len(pushes.records()) == 2
    assert list(sent[1].message.user_ids) == ["ann", "bob", "dan", "fay"]
    assert list(sent[2].message.user_ids) == ["bob", "eve"]
    assert (sent[1].gateway_epoch, sent[2].gateway_epoch) == (10, 20)


@given(st.lists(st.tuples(st.sampled_from(sorted(USERS)), st.integers(1, 5)), max_size=40))
def test_every_user_gets_all_pushes_in_the_order_of_the_inbox(arrived: list[tuple[int, int]]) -> None:
    pushes = Pushes(presences())
    inboxes: dict[str, int] = defaultdict(int)
    expected: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for partition, message_id in arrived:
        placed = []
        for user in USERS[partition]:
            inboxes[user] += 1
            placed.append(Placed(user, inboxes[user]))
            expected[user].append((message_id, inboxes[user]))
        pushes.add(item(message_id, USERS[partition]), placed, partition)
    sent: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for gateway, push in pushes.records():
        message = push.message
        for user, inbox_seq in zip(message.user_ids, message.inbox_seqs, strict=True):
            sent[gateway, user].append((message.message.message_id, inbox_seq))
    for gateway, user in ((1, "ann"), (1, "bob"), (2, "bob"), (1, "dan"), (2, "eve"), (1, "fay")):
        assert sent[gateway, user] == expected[user]
    assert not any(user == "cid" for _, user in sent)
