"""Commands and their answers, measured; commands without an answer, counted."""

import pytest

from services.gateway.submit import latency
from services.gateway.submit.latency import UNANSWERED_MS, AckLatency
from tidings import metrics


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(metrics.SEND_SECONDS, "observe", seconds.append)
    return seconds


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []
    monkeypatch.setattr(metrics.SEND_UNANSWERED, "inc", lambda: counted.append(1))
    return counted


def test_an_answer_in_time_is_measured_and_not_counted(answered: list[float], unanswered: list[int]) -> None:
    times = AckLatency()
    times.published("c", "m", 0)
    times.answered("c", "m", 40)
    times.look(10 * UNANSWERED_MS)
    assert (answered, unanswered) == ([0.04], [])


def test_a_command_without_an_answer_is_counted_once(answered: list[float], unanswered: list[int]) -> None:
    times = AckLatency()
    times.published("c", "m", 0)
    times.look(UNANSWERED_MS - 1)
    assert unanswered == []
    times.look(UNANSWERED_MS)
    times.look(10 * UNANSWERED_MS)
    assert unanswered == [1]
    times.answered("c", "m", 2 * UNANSWERED_MS)
    assert answered == [2 * UNANSWERED_MS / 1000]


def test_a_repeat_waits_from_its_own_publishing(unanswered: list[int]) -> None:
    times = AckLatency()
    times.published("c", "m", 0)
    times.published("c", "n", 1)
    times.published("c", "m", UNANSWERED_MS)
    times.look(UNANSWERED_MS + 1)
    assert unanswered == [1]


def test_more_commands_than_the_table_holds_are_counted(monkeypatch: pytest.MonkeyPatch, unanswered: list[int]) -> None:
    monkeypatch.setattr(latency, "MAX_ENTRIES", 2)
    times = AckLatency()
    for number in range(5):
        times.published("c", str(number), 0)
    assert len(unanswered) == 3
