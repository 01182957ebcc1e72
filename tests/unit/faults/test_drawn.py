"""Drawn faults: the same seed and calls give the same faults, and scripts come first."""

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.drawn import CommitFault, LogFaults, LogRates, ProduceFault, StoreFaults, StoreRates, WriteFault

RATES = LogRates(produce_lost=0.2, produce_late=0.3, commit_lost=0.5, coordinator_loading=0.5)


@given(st.integers())
def test_a_seed_is_a_schedule(seed: int) -> None:
    def draws() -> list[object]:
        faults = LogFaults(seed, RATES)
        return [(faults.produce(), faults.commit(), faults.is_loading(), faults.late_calls()) for _ in range(20)]

    assert draws() == draws()


@given(st.integers())
def test_without_rates_nothing_fails(seed: int) -> None:
    faults = LogFaults(seed)
    assert {faults.produce() for _ in range(50)} == {ProduceFault.NONE}
    assert {faults.commit() for _ in range(50)} == {CommitFault.NONE}
    assert not any(faults.is_loading() for _ in range(50))


def test_every_fault_with_a_rate_comes_up_and_no_other() -> None:
    faults = LogFaults(1, RATES)
    assert {faults.produce() for _ in range(500)} == {ProduceFault.NONE, ProduceFault.LOST, ProduceFault.LATE}


def test_scripted_faults_come_first() -> None:
    faults = LogFaults()
    faults.script_produce(ProduceFault.PARTIAL)
    faults.script_commit(CommitFault.LOST)
    faults.script_loading(1)
    assert (faults.produce(), faults.produce()) == (ProduceFault.PARTIAL, ProduceFault.NONE)
    assert (faults.commit(), faults.commit()) == (CommitFault.LOST, CommitFault.NONE)
    assert (faults.is_loading(), faults.is_loading()) == (True, False)


def test_the_same_seed_gives_the_same_faults() -> None:
    rates = StoreRates(write_lost=0.2, write_unconfirmed=0.2, write_flickering=0.2, write_late=0.2)
    one, other = StoreFaults(7, rates), StoreFaults(7, rates)
    drawn = [one.write() for _ in range(200)]
    assert drawn == [other.write() for _ in range(200)]
    assert set(drawn) == set(WriteFault)
