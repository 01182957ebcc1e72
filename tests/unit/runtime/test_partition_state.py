"""State enters the cache when its round is confirmed, and only then (laws 5 and 6)."""

from hypothesis import given
from hypothesis import strategies as st

from tidings.broker.base import TopicPartition
from tidings.runtime.partition_state import Confirmed, PartitionState


def state(most: int = 1_000) -> PartitionState[str, int, str]:
    """A value weighs as much as it has characters; a draft is their number."""
    return PartitionState(finish=lambda draft: "x" * draft, most=most, weigh=len)


def partitions(*numbers: int) -> list[TopicPartition]:
    return [TopicPartition("t", number) for number in numbers]


def test_a_draft_becomes_a_value_when_its_partition_is_confirmed() -> None:
    cache = state()
    cache.begin()
    cache.drafts(0)["a"] = 3
    cache.drafts(1)["b"] = 4
    assert cache.get("a") is None
    assert cache.confirm(partitions(0)) == [Confirmed(0, "a", None, "xxx")]
    assert (cache.get("a"), cache.get("b")) == ("xxx", None)


def test_drafts_of_a_failed_partition_are_dropped() -> None:
    cache = state()
    cache.drafts(1)["b"] = 4
    cache.confirm(partitions(0))
    assert cache.confirm(partitions(1)) == []


def test_drafts_of_a_dropped_round_do_not_enter_the_next() -> None:
    cache = state()
    cache.drafts(0)["a"] = 3
    cache.begin()
    assert cache.confirm(partitions(0)) == []


def test_the_value_before_is_returned() -> None:
    cache = state()
    cache.learn({"a": "x"})
    cache.drafts(0)["a"] = 2
    assert cache.confirm(partitions(0)) == [Confirmed(0, "a", "x", "xx")]


def test_two_topics_of_a_partition_confirm_once() -> None:
    cache = state()
    cache.drafts(0)["a"] = 1
    assert len(cache.confirm([TopicPartition("t", 0), TopicPartition("u", 0)])) == 1


def test_learning_evicts_nothing_that_the_round_needs() -> None:
    cache = state(most=2)
    cache.learn({"a": "xx", "b": "xx"})
    assert (cache["a"], cache["b"]) == ("xx", "xx")
    cache.confirm([])
    assert "a" not in cache
    assert "b" in cache


def test_forget_drops_all_values_and_drafts() -> None:
    cache = state(most=3)
    cache.learn({"a": "xxx"})
    cache.drafts(0)["b"] = 1
    cache.forget()
    assert cache.confirm(partitions(0)) == []
    cache.learn({"c": "xxx"})
    cache.confirm([])
    assert "c" in cache


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 25)), max_size=60))
def test_values_are_bounded_by_weight_and_the_oldest_goes_first(updates: list[tuple[int, int]]) -> None:
    cache, order = state(most=20), list[int]()
    for key, size in updates:
        cache.drafts(0)[str(key)] = size
        cache.confirm(partitions(0))
        order = [one for one in order if one != key] + [key]
        held = [one for one in order if str(one) in cache]
        assert sum(len(cache[str(one)]) for one in held) <= 20
        assert held == order[len(order) - len(held) :]
        assert (key in held) == (size <= 20)
        order = held
