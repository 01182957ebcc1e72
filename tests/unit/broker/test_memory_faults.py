"""Faults: the same seed and calls give the same faults, and scripts come first."""

from hypothesis import given
from hypothesis import strategies as st

from tidings.broker.memory_faults import CommitFault, FaultRates, Faults, ProduceFault

RATES = FaultRates(produce_lost=0.2, produce_late=0.3, commit_lost=0.5, coordinator_loading=0.5)


@given(st.integers())
def test_a_seed_is_a_schedule(seed: int) -> None:
    def draws() -> list[object]:
        faults = Faults(seed, RATES)
        return [(faults.produce(), faults.commit(), faults.is_loading(), faults.late_calls()) for _ in range(20)]

    assert draws() == draws()


@given(st.integers())
def test_without_rates_nothing_fails(seed: int) -> None:
    faults = Faults(seed)
    assert {faults.produce() for _ in range(50)} == {ProduceFault.NONE}
    assert {faults.commit() for _ in range(50)} == {CommitFault.NONE}
    assert not any(faults.is_loading() for _ in range(50))


def test_every_fault_with_a_rate_comes_up_and_no_other() -> None:
    faults = Faults(1, RATES)
    assert {faults.produce() for _ in range(500)} == {ProduceFault.NONE, ProduceFault.LOST, ProduceFault.LATE}


def test_scripted_faults_come_first() -> None:
    faults = Faults()
    faults.script_produce(ProduceFault.PARTIAL)
    faults.script_commit(CommitFault.LOST)
    faults.script_loading(1)
    assert (faults.produce(), faults.produce()) == (ProduceFault.PARTIAL, ProduceFault.NONE)
    assert (faults.commit(), faults.commit()) == (CommitFault.LOST, CommitFault.NONE)
    assert (faults.is_loading(), faults.is_loading()) == (True, False)
