"""Bytes to frames and back."""

from hypothesis import given
from hypothesis import strategies as st

from tidings_client import frames


@given(st.lists(st.text(max_size=30_000), max_size=8), st.sampled_from([1_000, 20_000, 65_536]))
def test_joined_frames_stay_within_the_servers_limit(texts: list[str], max_bytes: int) -> None:
    sends = [frames.Send(client_msg_id=f"{n}", kind="text", body={"text": t}, attempt=1) for n, t in enumerate(texts)]
    joined = list(frames.encode(sends, max_bytes))
    assert sum(text.count("\n") + 1 for text in joined) == len(sends)
    assert all(len(text.encode()) <= max_bytes or "\n" not in text for text in joined)


@given(st.binary(max_size=200))
def test_any_bytes_from_the_server_decode_to_frames_or_nothing(data: bytes) -> None:
    list(frames.decode(data))


def test_null_counts_as_absent_in_a_frame_of_the_server() -> None:
    line = '{"type":"send_error","client_msg_id":"a","code":"x","message":null,"retryable":null,"ref":null}'
    (frame,) = frames.decode(line + '\n{"type":"send_ack","seq":null}\n[null]')
    assert frame == frames.SendError(client_msg_id="a", code="x")
