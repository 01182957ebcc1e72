"""Findings in the keys of messages."""

from dataclasses import replace

from tests.builders import message
from tests.unit.audit.tables import SESSION, Tables, key_of
from tidings.store.rows import KeyRow


def stray_key(**changes: object) -> KeyRow:
    return replace(key_of(message(SESSION, 900)), **changes)  # type: ignore[arg-type]


async def test_many_sound_keys_have_no_finding(tables: Tables) -> None:
    await tables.session((1, 1_200))
    assert (await tables.audit()).said == []


async def test_a_key_without_its_message_is_orphaned(tables: Tables) -> None:
    await tables.session((1, 3))
    await tables.write(stray_key())
    assert (await tables.audit()).texts == [
        f"orphaned: key of {SESSION} month 0 shard 0: 'm-900' of alice names {SESSION} seq 900, which is not stored"
    ]


async def test_a_key_of_no_session_is_orphaned(tables: Tables) -> None:
    await tables.write(stray_key())
    assert (await tables.audit()).kinds == ["orphaned"]


async def test_a_key_of_another_message_is_orphaned(tables: Tables) -> None:
    await tables.session((1, 3))
    await tables.write(stray_key(seq=2))
    assert (await tables.audit()).texts == [
        f"orphaned: key of {SESSION} month 0 shard 0: 'm-900' of alice names another message than {SESSION} seq 2 is"
    ]


async def test_a_key_of_an_unconfirmed_command_is_not_judged(tables: Tables) -> None:
    await tables.session((1, 3))
    await tables.write(stray_key())
    tables.world.closing.confirmed_offset = 900
    assert (await tables.audit()).said == []
    tables.world.closing.confirmed_offset = 901
    assert (await tables.audit()).kinds == ["orphaned"]
