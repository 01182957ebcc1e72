"""Requests for a round without records."""

from tidings.runtime.round_request import RoundRequest


def test_a_request_is_taken_once() -> None:
    request = RoundRequest()
    assert not request.take()
    request.make()
    request.make()
    assert request.arrived.is_set()
    assert [request.take(), request.take()] == [True, False]


def test_an_arrival_is_no_request() -> None:
    request = RoundRequest()
    request.arrived.set()
    assert not request.take()
