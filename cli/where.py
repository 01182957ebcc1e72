"""`tidings where`: from a message id to the place of its command in the log."""

from typing import Annotated

import typer

from tidings import ids
from tidings.topics import MESSAGES_INBOUND, MESSAGES_PERSISTED


def where(
    message_id: Annotated[int, typer.Argument(help="As in send_ack and in every message.", min=0, max=2**63 - 1)],
) -> None:
    """Print where in the log a message began: epoch, partition and offset of its command.

    Every later stage carries these coordinates. The record on messages.persisted is in the partition of the same
    number, and the rows have log_epoch and log_offset. The persister is done with the command if its committed offset
    of that partition is higher. Later topics have their own offsets.
    """
    epoch, partition, offset = ids.split_message_id(message_id)
    print(f"epoch {epoch}\n{MESSAGES_INBOUND} partition {partition} offset {offset}")
    print(f"{MESSAGES_PERSISTED} partition {partition}, with this offset in its coordinates")
