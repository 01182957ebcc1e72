"""`tidings audit`: what it prints, and its exit codes. The tables, objects and log are in memory."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli import audit, patience
from services.auditor import build
from services.auditor.build import Audited
from tests.faults.media import MediaFaults, MediaRates
from tests.unit.audit.tables import Tables
from tests.unit.cli.shell import Ended, Shell

NO_SERVER = "1"  # no server of a test has this port, and a connection is refused


class Program:
    """`tidings audit` over tables of one test."""

    def __init__(self, shell: Shell, tables: Tables) -> None:
        self.tables = tables
        self._shell = shell

    def run(self, *arguments: str) -> Ended:
        return self._shell.run("audit", "--settle", "0", "--rate", "0", *arguments)


@pytest.fixture
def program(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    tables = Tables(tmp_path)
    asyncio.run(tables.session((200, 5), (1, 9)))

    @contextlib.asynccontextmanager
    async def audited(*_: object) -> AsyncIterator[Audited]:
        yield Audited(tables.world.ports, tables.walk)

    monkeypatch.setattr(build, "audited", audited)
    return Program(shell, tables)


def test_sound_tables_end_with_0(program: Program) -> None:
    ended = program.run()
    assert ended.code == 0
    assert re.fullmatch(r"\d+ places with \d+ reads of rows: nothing found\n", ended.out)


def test_findings_are_printed_one_by_one_and_end_with_1(program: Program) -> None:
    program.tables.drop("inbox", ("bob", 0), 2)
    program.tables.drop("inbox", ("alice", 0), 3)
    ended = program.run()
    *findings, counts = ended.out.splitlines()
    assert ended.code == 1
    assert sorted(findings) == [
        "missing: inbox alice: inbox_seq 3 is lost",
        "missing: inbox bob: inbox_seq 2 is lost",
    ]
    assert counts.endswith(": 2 missing")


def test_a_store_that_is_away_ends_with_3(program: Program) -> None:
    asyncio.run(program.tables.world.archive())
    program.tables.world.objects.faults = MediaFaults(rates=MediaRates(read_failed=1.0))
    ended = program.run()
    assert ended.code == 3
    counts, *unseen = ended.out.splitlines()
    assert counts.endswith("nothing found")
    assert len(unseen) == 2
    assert all(line.startswith("not looked at: 1 places of cold/") for line in unseen)


def test_findings_count_more_than_what_was_not_seen(program: Program) -> None:
    asyncio.run(program.tables.world.archive())
    program.tables.world.objects.faults = MediaFaults(rates=MediaRates(read_failed=1.0))
    program.tables.drop("inbox", ("bob", 0), 2)
    assert program.run().code == 1


def test_a_server_that_goes_away_ends_with_the_position(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = program.tables.walk.partitions

    async def partitions(table: str, after: int, limit: int) -> object:
        if table == "inbox":
            program.tables.store.stall()
        return await walk(table, after, limit)  # type: ignore[arg-type]

    monkeypatch.setattr(program.tables.walk, "partitions", partitions)
    ended = program.run()
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    position = ended.out.splitlines()[-1].removeprefix("stopped; continue with --from ")
    assert position.startswith("inbox:")
    monkeypatch.undo()


def test_a_position_leaves_out_what_is_before_it(program: Program) -> None:
    program.tables.drop("inbox", ("bob", 0), 2)
    assert program.run("--from", "inbox_buckets:-9223372036854775808").code == 1
    assert program.run("--from", "inbox:-9223372036854775808").code == 0


def test_a_position_that_is_none_is_refused(program: Program) -> None:
    ended = program.run("--from", "elsewhere:5")
    assert ended.code == 2
    assert "no position" in ended.err


def test_servers_that_are_away_are_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "WITHIN_S", 0.5)
    monkeypatch.setattr(patience, "SILENT_S", 0.1)
    monkeypatch.setenv("TIDINGS_CASSANDRA_PORT", NO_SERVER)
    monkeypatch.setenv("TIDINGS_KAFKA_BOOTSTRAP", f"127.0.0.1:{NO_SERVER}")
    ended = shell.run("audit")
    assert ended.code == 1
    assert "Cassandra at 127.0.0.1, port 1" in ended.err
    assert "stopped" not in ended.out
