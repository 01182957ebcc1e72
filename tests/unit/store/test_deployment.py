"""The name of a deployment's tables, through restores."""

from tidings.store.deployment import MOST_RESTORES, Deployment
from tidings.store.memory import MemoryStore


def test_a_restore_keeps_the_origin_and_all_times() -> None:
    first = Deployment.new("a", 1)
    assert first.fields() == {"id": "a", "origin": "a", "since": 1}
    again = first.after_restore("b", 5).after_restore("c", 9)
    assert again == Deployment("c", "a", 9, (5, 9))
    for at_ms in range(200):
        again = again.after_restore("d", at_ms)
    assert len(again.restored) == MOST_RESTORES


def test_each_set_of_tables_in_memory_has_a_name() -> None:
    assert MemoryStore().deployment.id != MemoryStore().deployment.id
