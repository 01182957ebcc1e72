"""The client keeps within the rate that the server announced."""

from tests.unit.client.authors import online
from tidings_client.frames import Limits

LIMITS = Limits(messages_per_s=100, burst=20)


def test_sends_are_paced_within_server_limits_in_order() -> None:
    author = online(limits=LIMITS)
    started = author.now_ms
    names = [f"m{n}" for n in range(200)]
    for n, name in enumerate(names):
        author.send(name)
        if len(author.sends) == n + 1:
            author.ack(name, n + 1)
    while len(author.sends) < 200:
        before = len(author.sends)
        author.advance(10)
        for name in author.sent_names[before:]:
            author.ack(name, 1)
    assert author.sent_names == names
    for at in author.sent_after(started):
        sent_by_then = sum(other <= at for other in author.sent_after(started))
        assert sent_by_then <= 20 + at * 100 / 1_000


def test_a_long_silence_saves_up_no_more_than_a_burst() -> None:
    author = online(limits=LIMITS)
    author.advance(3_600_000)
    author.send(*(f"m{n}" for n in range(30)))
    assert len(author.sends) == 18
