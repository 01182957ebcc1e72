"""What a hostile client was seen to do in a review, and may not do again."""

import time

import pytest

from services.gateway.frames import is_too_deep
from services.gateway.outbox import REPEAT_AFTER_MS, Full, Outbox, OutboxLimits

KIB = 1024


@pytest.mark.parametrize("size", [64 * KIB, 1024 * KIB])
def test_a_string_of_escapes_without_an_end_is_looked_at_once(size: int) -> None:
    """With a string that had to end, 64 KiB took 43 s. Generous, since this is about hours."""
    began = time.monotonic()
    assert is_too_deep("[" * 33 + '"' + '\\"' * (size // 2))
    assert not is_too_deep("[" * 20 + '"' + '\\"' * (size // 2) + "[" * 33)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("text", "is_deep"),
    [
        ("[" * 33, True),
        ("[" * 32 + "]" * 32, False),
        ('["' + "[" * 40 + '"]', False),
        ('["\\"' + "[" * 40 + '"]', False),
        ('["\\\\"' + "[" * 40, True),
        ("[]" * 40, False),
    ],
)
def test_only_brackets_outside_of_strings_nest(text: str, is_deep: bool) -> None:
    assert is_too_deep(text) is is_deep


def drained(outbox: Outbox) -> None:
    while outbox.take():
        pass


def test_a_client_that_reads_but_never_acks_is_bounded_in_bytes() -> None:
    outbox = Outbox(OutboxLimits(deliveries=2_000, buffered_bytes=100 * KIB))
    for inbox_seq in range(1, 11):
        outbox.deliver(inbox_seq, b"x" * 10 * KIB, 0)
        drained(outbox)
    with pytest.raises(Full):
        outbox.deliver(11, b"x" * 10 * KIB, 0)


def test_a_repeat_never_closes_a_connection_before_its_45_s() -> None:
    outbox = Outbox(OutboxLimits(deliveries=2_000, buffered_bytes=100 * KIB))
    for inbox_seq in range(1, 11):
        outbox.deliver(inbox_seq, b"x" * 10 * KIB, 0)
        drained(outbox)
    for at_ms in REPEAT_AFTER_MS:
        assert outbox.repeat(at_ms)
        assert outbox
        drained(outbox)
    assert not outbox.repeat(45_000)
