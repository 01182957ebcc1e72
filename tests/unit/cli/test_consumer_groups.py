"""`tidings groups`: what it prints, and when it fails."""

import asyncio

import pytest

from cli import composition
from tests.unit.cli.shell import Shell
from tidings.broker.base import Committed, NewRecord, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.runtime.initialise import initialise
from tidings.runtime.marks import Marks
from tidings.topics import EXPAND, MESSAGES_INBOUND, MESSAGES_PERSISTED, PERSISTER, TopicSizes
from tidings.wire.common_pb2 import Coordinates

SIZES = TopicSizes(2, 2, 2)
PERSISTED = TopicPartition(MESSAGES_PERSISTED, 1)
INBOUND = TopicPartition(MESSAGES_INBOUND, 0)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    broker = MemoryBroker()

    async def begin() -> None:
        await initialise(broker.admin(), SIZES, 1)
        await broker.producer("test").produce(*PERSISTED, [NewRecord(b"x")] * 5)

    asyncio.run(begin())
    monkeypatch.setattr(composition, "kafka", lambda _settings: broker)
    for name in ("SESSION", "USER", "PUSH"):
        monkeypatch.setenv(f"TIDINGS_KAFKA_{name}_PARTITIONS", "2")
    return broker


def test_offsets_lag_and_marks_of_all_groups_are_printed(shell: Shell, broker: MemoryBroker) -> None:
    marks = Marks()
    marks.advance(Coordinates(partition=1, epoch=0, offset=41))
    marks.advance(Coordinates(partition=0, epoch=2, offset=7))
    broker.group(EXPAND).commits[PERSISTED] = Committed(3, marks.encoded())
    ended = shell.run("groups")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    names = [line for line in lines if not line.startswith(" ")]
    assert names == [
        "tidings.persister: lag 0",
        "tidings.fanout.expand: lag 2",
        "tidings.fanout.deliver: lag 0",
        "tidings.receipts: lag 5",
    ]
    assert len(lines) == 4 + 2 + 2 + 2 + 4
    assert "  messages.persisted 1    commit 3  end 5  lag 2  marks 0:2/7 1:0/41" in lines
    assert "  messages.inbound 0      commit 0  end 0  lag 0  marks none" in lines


@pytest.mark.parametrize(
    ("commit", "text"),
    [
        (None, "no commit: run `tidings init`"),
        (Committed(1, Marks().encoded()), "the commit is beyond the end"),
        (Committed(0, ""), "the marks are not readable"),
    ],
)
def test_a_commit_that_no_worker_can_use_ends_with_1(
    shell: Shell, broker: MemoryBroker, commit: Committed | None, text: str
) -> None:
    commits = broker.group(PERSISTER).commits
    del commits[INBOUND]
    commits.update({INBOUND: commit} if commit else {})
    ended = shell.run("groups")
    assert ended.code == 1
    assert [line for line in ended.out.splitlines() if text in line and line.startswith("  messages.inbound 0")]
