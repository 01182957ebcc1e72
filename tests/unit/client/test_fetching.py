"""What the core asks for, read over REST."""

from tests.unit.client.gateways import Gateway
from tidings_client.fetching import counts, watermarks


async def test_counts_are_read_up_to_the_first_reader() -> None:
    gateway = Gateway(
        {"delivered": ["b"], "read": [], "members": 9, "next": "b"},
        {"delivered": [], "read": [{"user_id": "c", "at": 5}], "members": 9, "next": "c"},
    )
    assert await counts(gateway.rest, "g:1", 3) == (1, 1)
    assert await counts(Gateway(503).rest, "g:1", 3) is None


async def test_watermarks_of_a_peer_that_blocks_the_user_are_absent() -> None:
    shown = {"d:alice:bob": {}, "d:alice:carol": {"delivered_seq": 2, "read_seq": 0}}
    listed = [
        {"session_id": name, "head": {"seq": 3}, "peer": {"user_id": name[8:], **marks}}
        for name, marks in shown.items()
    ]
    rest = Gateway({"sessions": listed, "next": None}).rest
    peers = [one.peer for one in (await rest.sessions()).sessions if one.peer]
    assert [(one.delivered_seq, one.read_seq) for one in peers] == [(None, None), (2, 0)]
    # Zero moves no status: what was shown does not go back.
    found = [marks async for marks in watermarks(rest, set(shown))]
    assert found == [("d:alice:bob", 0, 0), ("d:alice:carol", 2, 0)]
