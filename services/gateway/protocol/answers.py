"""The frames `welcome` and `send_error`. Pure."""

from collections.abc import Mapping

from services.gateway.protocol.frames import encode
from services.gateway.protocol.limits import FRAME_BYTES, MAX_PAGE
from tidings.errors import Refused

MAX_RETRIES = 8


def welcome(
    ref: str | None,
    names: Mapping[str, str],
    rates: Mapping[str, int],
    deployment: Mapping[str, object] | None,
    server_time_ms: int,
    heartbeat_s: int,
) -> bytes:
    """A `welcome` frame. `names`: ids of the user, the device and the connection. `deployment`: as PROTOCOL shows it,
    None without tables."""
    limits = {"frame_bytes": FRAME_BYTES, "page": MAX_PAGE, "max_retries": MAX_RETRIES, **rates}
    times = {"server_time": server_time_ms, "heartbeat_s": heartbeat_s}
    return encode("welcome", ref, **names, **times, limits=limits, deployment=deployment)


def send_error(client_msg_id: str, session_id: str | None, refused: Refused, ref: str | None) -> bytes:
    """A try of a `send` stored nothing. For `timeout` and `unavailable` the outcome is unknown."""
    return encode(
        "send_error",
        ref,
        client_msg_id=client_msg_id,
        session_id=session_id,
        code=refused.code,
        message=refused.text,
        retryable=refused.is_retryable,
        retry_after_ms=refused.retry_after_ms,
    )


def heads_of(heads: Mapping[str, int]) -> list[dict[str, object]]:
    """Heads as `live` and `heartbeat` carry them."""
    return [{"session_id": name, "seq": seq} for name, seq in heads.items()]
