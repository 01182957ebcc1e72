"""`tidings archive`: what it prints, and its exit codes. The tables, objects and log are in memory."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli import archive, patience
from services.persister.archive import Workplace
from tests.unit.cli.shell import Shell
from tests.unit.cold.world import World
from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment

SESSION = "d:alice:bob"
# Ages in days, and numbers of messages. The third segment is too young to move.
SEGMENTS = ((200, 5), (170, 40), (2, 7))
NOBODY = "1"  # no server of a test has this port, and a connection is refused
MONTHS = ("202605", "202606", "202611")


class Program:
    """`tidings archive` over one world."""

    def __init__(self, shell: Shell, world: World) -> None:
        self.world = world
        self._shell = shell

    def run(self, *arguments: str) -> tuple[int, list[str], str]:
        """Exit code, printed lines, and the error on one line."""
        ended = self._shell.run("archive", *arguments)
        return ended.code, ended.out.splitlines(), " ".join(ended.err.split())

    def check(self) -> None:
        """Every message can be read."""
        asyncio.run(self.world.check())


@pytest.fixture
def program(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    world = World(tmp_path)
    asyncio.run(world.session(SESSION, *SEGMENTS))

    @contextlib.asynccontextmanager
    async def workplace(*_: object, **__: object) -> AsyncIterator[Workplace]:
        yield Workplace(world.ports, tmp_path)

    monkeypatch.setattr(archive, "workplace", workplace)
    return Program(shell, world)


def test_run_prints_what_has_moved(program: Program) -> None:
    code, lines, _ = program.run("run")
    size = sum(map(len, program.world.objects.objects.values()))
    assert (code, lines) == (
        0,
        [
            "0 quiet sessions closed",
            f"2 segments with 45 messages moved to 2 objects of {size} bytes",
            "2 hot segments deleted",
        ],
    )
    program.check()


def test_dry_run_prints_what_would_move_and_moves_nothing(program: Program) -> None:
    code, lines, _ = program.run("run", "--dry-run")
    assert code == 0
    assert lines[1].startswith("2 segments with 45 messages would be moved")
    assert program.world.objects.objects == {}


def test_run_with_a_retention_prints_what_is_gone(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_ARCHIVE_RETENTION_DAYS", "140")
    code, lines, _ = program.run("run")
    assert code == 0
    assert lines[-1] == "2 segments with 45 messages removed for good"


def test_run_names_incomplete_segments_and_fails(program: Program) -> None:
    asyncio.run(program.world.tables.drop_messages(SessionSegment(SESSION, 2), 8, 2**62))
    code, lines, _ = program.run("run")
    assert code == 1
    assert lines[-1] == f"incomplete: {SESSION} segment 2: hot rows are missing, nothing of it has moved"


def test_dry_run_with_a_retention_prints_what_would_be_gone(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_ARCHIVE_RETENTION_DAYS", "140")
    code, lines, _ = program.run("run", "--dry-run")
    assert (code, lines[-1]) == (0, "at most 2 segments with 45 messages would be removed for good")
    program.check()


def test_run_names_held_segments_and_fails(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_ARCHIVE_RETENTION_DAYS", "140")
    asyncio.run(program.world.tables.drop_messages(SessionSegment(SESSION, 2), 8, 2**62))
    code, lines, _ = program.run("run")
    assert code == 1
    assert "1 segments are beyond their retention and stay, because they have not moved" in lines


def test_run_names_shards_of_other_archivers(program: Program) -> None:
    asyncio.run(claim_all(program.world))
    code, lines, _ = program.run("run")
    assert (code, lines[-1]) == (0, "2 shards are left to other archivers")


def test_store_that_is_away_fails_with_one_line(program: Program) -> None:
    program.world.objects.stall()
    code, _, error = program.run("run")
    assert code == 1
    assert error.startswith("error: ")


def test_verify_of_sound_objects_ends_with_0(program: Program) -> None:
    program.run("run")
    assert program.run("verify") == (0, ["2 objects, 2 segments, 45 messages read and equal"], "")


def test_verify_of_one_month_reads_that_month(program: Program) -> None:
    program.run("run")
    assert program.run("verify", "--month", MONTHS[1])[1] == ["1 objects, 1 segments, 40 messages read and equal"]


@pytest.mark.parametrize("month", ["202613", "202600", "2026", "0", "-202605", "20260５", "may"])
@pytest.mark.parametrize("verb", ["verify", "restore"])
def test_number_that_is_no_month_is_refused(program: Program, verb: str, month: str) -> None:
    code, lines, error = program.run(verb, "--month", month)
    assert (code, lines) == (2, [])
    assert "is no month" in error


def test_verify_of_a_month_without_objects_fails(program: Program) -> None:
    program.run("run")
    code, lines, _ = program.run("verify", "--month", "202506")
    assert (code, lines[-1]) == (1, "nothing of 202506 is archived, so nothing was compared")


def test_verify_before_the_first_run_says_so_and_ends_with_0(program: Program) -> None:
    code, lines, _ = program.run("verify")
    assert (code, lines[-1]) == (0, "nothing is archived")


@pytest.mark.parametrize("arguments", [("--month", "202506"), ("--session", "d:alice:zoe")])
def test_restore_of_what_is_not_archived_says_so(program: Program, arguments: tuple[str, str]) -> None:
    program.run("run")
    code, lines, _ = program.run("restore", *arguments)
    assert (code, lines[-1]) == (0, f"nothing of {arguments[1]} is archived")


def test_verify_names_damage_and_fails(program: Program) -> None:
    program.run("run")
    key = program.world.objects.objects.popitem()[0]
    code, lines, _ = program.run("verify")
    assert code == 1
    assert lines[0] == f"DAMAGED: {SESSION} segment 2 in {key}: the object is missing"


def test_verify_repairs_from_hot_rows_and_ends_with_0(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_ARCHIVE_HOT_COPY_DAYS", "7")
    program.run("run")
    program.world.objects.objects.popitem()
    code, lines, _ = program.run("verify", "--repair")
    assert code == 0
    assert lines[0].startswith(f"repaired from the hot rows: {SESSION} segment 2")
    program.check()


def test_verify_names_objects_without_segments(program: Program) -> None:
    program.run("run")
    key = f"{next(iter(program.world.objects.objects)).rpartition('/')[0]}/{'0' * 64}.parquet"
    program.world.objects.objects[key] = b"left by an archiver that was killed"
    code, lines, _ = program.run("verify")
    assert (code, lines[1]) == (
        0,
        f"unnamed: {key}; no segment is in it. Delete it only if no backup of the tables names it",
    )


def test_restore_of_a_session_makes_it_hot(program: Program) -> None:
    program.run("run")
    ended = program.run("restore", "--session", SESSION)
    assert ended == (0, ["2 segments, 45 messages are in the tables again"], "")
    assert len(program.world.hot(SESSION)) == 52


def test_restore_of_a_month_makes_that_month_hot(program: Program) -> None:
    program.run("run")
    assert program.run("restore", "--month", MONTHS[0])[1] == ["1 segments, 5 messages are in the tables again"]


@pytest.mark.parametrize("arguments", [(), ("--session", SESSION, "--month", MONTHS[0])])
def test_restore_takes_a_session_or_a_month(program: Program, arguments: tuple[str, ...]) -> None:
    code, _, error = program.run("restore", *arguments)
    assert code == 2
    assert "give either --session or --month" in error


@pytest.mark.parametrize("arguments", [("--session", SESSION), ("--month", MONTHS[1])])
def test_restore_names_damaged_segments_and_fails(program: Program, arguments: tuple[str, str]) -> None:
    program.run("run")
    key = program.world.objects.objects.popitem()[0]
    code, lines, error = program.run("restore", *arguments)
    restored = 1 if arguments[0] == "--session" else 0
    assert (code, error) == (1, "")
    assert lines == [
        f"DAMAGED: {SESSION} segment 2 in {key}: the object is missing",
        f"{restored} segments, {5 * restored} messages are in the tables again",
        "1 damaged segments are left out; bring their objects back, then run it again",
    ]


@pytest.mark.parametrize("arguments", [("verify",), ("restore", "--session", SESSION)])
def test_verbs_say_what_was_done_when_the_store_goes_away(
    program: Program, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    program.run("run")
    newest, oldest = program.world.objects.objects.popitem()[0], next(iter(program.world.objects.objects))
    whole = program.world.objects.open

    async def going_away(key: str, *rest: int) -> AsyncIterator[bytes]:
        if key == oldest:
            program.world.objects.stall()
        async for chunk in whole(key, *rest):
            yield chunk

    monkeypatch.setattr(program.world.objects, "open", going_away)
    monkeypatch.setattr(archive, "_of_month", lambda shards, _: shards[::-1])  # the damage comes first
    code, lines, error = program.run(*arguments)
    assert code == 1
    assert lines[0] == f"DAMAGED: {SESSION} segment 2 in {newest}: the object is missing"
    assert lines[1].startswith(("1 objects", "0 segments"))
    assert error.startswith("error: ")


def test_status_has_a_line_for_each_month(program: Program) -> None:
    program.run("run")
    code, (head, *lines), _ = program.run("status")
    assert code == 0
    assert head.split()[:4] == ["month", "shards", "segments", "cold"]
    assert [tuple(line.split()[:6]) for line in lines] == [
        (MONTHS[0], "1/1", "1", "1", "0", "5"),
        (MONTHS[1], "1/1", "1", "1", "0", "40"),
        (MONTHS[2], "0/1", "1", "0", "0", "0"),
    ]


def test_sigterm_leaves_no_work_behind(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    is_left = False

    @contextlib.asynccontextmanager
    async def workplace(*_: object, **__: object) -> AsyncIterator[Workplace]:
        nonlocal is_left
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(10)
            yield Workplace(program.world.ports, Path())
        finally:
            is_left = True

    monkeypatch.setattr(archive, "workplace", workplace)
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        assert program.run("status")[0] == 143
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert is_left


def test_settings_that_do_not_fit_are_refused(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_ARCHIVE_RETENTION_DAYS", "30")
    code, _, error = program.run("run")
    assert code == 2
    assert "TIDINGS_ARCHIVE_RETENTION_DAYS" in error


@pytest.mark.timeout(30)
@pytest.mark.parametrize("arguments", [("run",), ("status",), ("verify",), ("restore", "--month", "202605")])
def test_archive_names_the_server_and_ends_with_1(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(archive, "WITHIN_S", 0.5)
    monkeypatch.setattr(patience, "SILENT_S", 0.1)
    monkeypatch.setenv("TIDINGS_CASSANDRA_PORT", NOBODY)
    monkeypatch.setenv("TIDINGS_KAFKA_BOOTSTRAP", f"127.0.0.1:{NOBODY}")
    ended = shell.run("archive", *arguments)
    assert (ended.code, ended.out) == (1, "")
    waiting, error = ended.err.splitlines()
    assert waiting.startswith(f"waiting for Cassandra at 127.0.0.1, port {NOBODY} (TIDINGS_CASSANDRA_HOSTS, _PORT)")
    assert error.startswith("error: Cassandra at 127.0.0.1")
    assert "did not serve us within 0.5 s" in error


async def claim_all(world: World) -> None:
    """Another archiver holds every shard."""
    for shard in await world.tables.indexed_shards():
        assert await world.tables.claim(Shard(*shard), "another", 60)
