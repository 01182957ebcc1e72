"""The faults and controls of the object store in memory."""

import pytest

from tests.contract.media.objects import chunks_of, keys_below, read
from tests.faults.media import ChangeFault, FaultyMediaStore, MediaFaults, MediaRates, ReadFault
from tidings.errors import MediaUnavailable


@pytest.mark.parametrize(("fault", "is_stored"), [(ChangeFault.LOST, False), (ChangeFault.UNCONFIRMED, True)])
async def test_put_fault_is_unknown_to_the_caller(fault: ChangeFault, is_stored: bool) -> None:
    store = FaultyMediaStore()
    store.faults.script_change(fault)
    with pytest.raises(MediaUnavailable):
        await store.put("a", chunks_of(b"x"))
    assert ("a" in store.objects) is is_stored
    await store.put("a", chunks_of(b"x"))
    assert await read(store, "a") == b"x"


@pytest.mark.parametrize(("fault", "is_gone"), [(ChangeFault.LOST, False), (ChangeFault.UNCONFIRMED, True)])
async def test_delete_fault_is_unknown_to_the_caller(fault: ChangeFault, is_gone: bool) -> None:
    store = FaultyMediaStore()
    await store.put("a", chunks_of(b"x"))
    store.faults.script_change(fault)
    with pytest.raises(MediaUnavailable):
        await store.delete(["a"])
    assert ("a" not in store.objects) is is_gone


async def test_cut_read_delivers_half_and_raises() -> None:
    store = FaultyMediaStore()
    await store.put("a/b", chunks_of(b"0123456789"))
    store.faults.script_read(ReadFault.CUT, ReadFault.FAILED, ReadFault.CUT, ReadFault.CUT)
    reading = store.open("a/b")
    assert await anext(reading) == b"01234"
    with pytest.raises(MediaUnavailable, match="cut short"):
        await anext(reading)
    with pytest.raises(MediaUnavailable):
        await anext(store.open("a/b"))
    with pytest.raises(MediaUnavailable):
        await store.size("a/b")
    with pytest.raises(MediaUnavailable):
        await keys_below(store, "a")
    assert await read(store, "a/b") == b"0123456789"


async def test_stalled_store_applies_nothing_until_it_heals() -> None:
    store = FaultyMediaStore()
    await store.put("a", chunks_of(b"x"))
    store.stall()
    for call in (store.put("b", chunks_of(b"y")), store.delete(["a"]), store.size("a"), anext(store.open("a"))):
        with pytest.raises(MediaUnavailable):
            await call
    store.heal()
    assert await keys_below(store, "") == ["a"]


async def test_signed_urls_are_a_choice() -> None:
    assert await FaultyMediaStore().sign("a", 60, "inline", "text/plain") is None
    assert await FaultyMediaStore(signs=True).sign("a", 60, "inline", "text/plain") == "memory:a?expires_s=60"


def test_same_seed_gives_the_same_faults() -> None:
    rates = MediaRates(change_lost=0.2, change_unconfirmed=0.2, read_failed=0.2, read_cut=0.2)
    first, second = MediaFaults(7, rates), MediaFaults(7, rates)
    drawn = [(first.change(), first.read()) for _ in range(200)]
    assert drawn == [(second.change(), second.read()) for _ in range(200)]
    assert {fault for pair in drawn for fault in pair} == {*ChangeFault, *ReadFault}
