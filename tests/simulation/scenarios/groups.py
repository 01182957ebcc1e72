"""Commands of groups, and what receipts publishes of them."""

from tests.simulation.scenario import Scenario
from tests.unit.persister.builders import GROUP, GroupAction, command, group_command
from tidings.topics import DELIVERIES
from tidings.wire.deliveries_pb2 import Delivery, GroupCounts, Watermark
from tidings.wire.inbound_pb2 import Command, CreateGroup


def act(
    client_msg_id: str, action: GroupAction, sender: str = "alice", write_max: int = 500, session_id: str = GROUP
) -> Command:
    """A group command, with the line that its gateway stamped on it."""
    sent = group_command(client_msg_id, action, sender, session_id)
    sent.stamps.write_diffusion_max = write_max
    return sent


def say(client_msg_id: str, sender: str = "bob") -> Command:
    """A text message to the group."""
    return command(client_msg_id, sender=sender, session_id=GROUP)


def create(*members: str, write_max: int = 500) -> Command:
    """The group of alice and these others."""
    return act("create", CreateGroup(name="crew", member_ids=members), write_max=write_max)


async def marks(line: Scenario, user_id: str, session_id: str = GROUP) -> tuple[int, int]:
    """Delivered and read, as stored."""
    row = (await line.store.receipts([(session_id, user_id)])).get((session_id, user_id))
    return (row.delivered_seq, row.read_seq) if row else (0, 0)


def deliveries(line: Scenario) -> list[Delivery]:
    return [Delivery.FromString(record.value or b"") for record in line.records(DELIVERIES)]


def watermarks(line: Scenario) -> list[Watermark]:
    return [one.watermark for one in deliveries(line) if one.HasField("watermark")]


def counts(line: Scenario) -> list[GroupCounts]:
    return [one.group_counts for one in deliveries(line) if one.HasField("group_counts")]


def last_counts(line: Scenario) -> dict[tuple[str, int], tuple[int, int]]:
    """What authors were sent last of each of their messages."""
    found = ((one.recipient_id, count) for one in counts(line) for count in one.counts)
    return {(author, count.seq): (count.delivered, count.read) for author, count in found}


async def claimed(line: Scenario, user_id: str, delivered_seq: int = 0, read_seq: int = 0) -> None:
    """A claim in the group."""
    await line.claimed(user_id, delivered_seq, read_seq, GROUP)
