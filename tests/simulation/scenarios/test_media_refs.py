"""The references of messages to uploads: side rows of the persister, which acked messages never lack."""

import pytest

from tests.faults.drawn import WriteFault
from tests.simulation.scenario import Scenario, post, scenario, writes_of
from tidings.store.media_rows import MediaRefRow
from tidings.wire.inbound_pb2 import Command

IDS = ["0" * 32, "1" * 32]


def with_uploads(client_msg_id: str) -> Command:
    """A message that refers to two uploads."""
    sent = post(client_msg_id)
    sent.post.media_ids.extend(IDS)
    return sent


def refs(line: Scenario) -> set[tuple[str, int]]:
    return {(row.media_id, row.seq) for row in line.rows(MediaRefRow)}


@pytest.mark.promise("G1")
@scenario("persister", "fanout")
async def test_message_with_uploads_is_stored_with_its_references(line: Scenario) -> None:
    await line.checked(post("m1"), with_uploads("m2"), with_uploads("m2"))
    assert refs(line) == {(media_id, 2) for media_id in IDS}


@pytest.mark.promise("G1")
@pytest.mark.parametrize("failing", range(5))
@scenario()
async def test_ack_waits_for_the_references_of_its_message(line: Scenario, failing: int) -> None:
    line.start("persister")
    line.store_faults.script_write(*[WriteFault.NONE] * failing, WriteFault.LOST)
    line.publish(with_uploads("m1"))
    await line.until(lambda: bool(line.acks()))
    assert refs(line) == {(media_id, 1) for media_id in IDS}


@pytest.mark.hazard("H2")
@scenario()
async def test_next_owner_writes_the_references_again(line: Scenario) -> None:
    first = line.start("persister", stop_before=writes_of(MediaRefRow))
    line.publish(with_uploads("m1"))
    await first.dies()
    assert not line.acks()
    line.start("persister", "fanout")
    await line.checked()
    assert refs(line) == {(media_id, 1) for media_id in IDS}
    await line.checked(with_uploads("m2"))
    assert refs(line) == {(media_id, 2) for media_id in IDS}  # one row per session: the newest message
