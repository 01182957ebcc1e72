"""Builds and checks the draft of a message before it is sent. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from tidings_client.drafts import Draft
from tidings_client.frames import encoded_bytes
from tidings_client.ids import checked_message_id, checked_session, checked_user

MAX_DEPTH = 31  # PROTOCOL: a frame nests at most 32 deep, and the frame itself is the first level


class Address(TypedDict, total=False):
    """Where a message goes, either `to` a user or to a `session_id` (direct or group), and what it refers to.
    The client makes a `client_msg_id` unless the application gives one. A given id makes sends idempotent across
    restarts of the application."""

    to: str
    session_id: str
    reply_to: int
    mentions: Iterable[str]
    client_msg_id: str


def draft_of(
    kind: str, body: dict[str, Any], address: Address, make_id: Callable[[], str], *, is_untried: bool = False
) -> Draft:
    """The message, under the caller's id or a new one. Raises ValueError unless exactly one of `to` and `session_id`
    is given, and InvalidId for an invalid id."""
    if ("to" in address) == ("session_id" in address):
        raise ValueError("give either `to` (a user) or `session_id`, not both")
    return Draft(
        client_msg_id=checked_message_id(address.get("client_msg_id") or make_id()),
        kind=kind,
        body=body,
        session_id=checked_session(address["session_id"]) if "session_id" in address else None,
        to=checked_user(address["to"]) if "to" in address else None,
        reply_to=address.get("reply_to"),
        mentions=tuple(checked_user(user) for user in address.get("mentions", ())),
        id_is_given=bool(address.get("client_msg_id")),
        is_untried=is_untried,
    )


def fault_of(draft: Draft) -> str | None:
    """Why no frame can carry this draft; None if a frame can. The frame encoder is not strict enough: it writes NaN
    as null and bytes as text. The server closes the connection for a frame that nests too deep."""
    place = (draft.client_msg_id, draft.session_id, draft.to, draft.reply_to)
    content = (place, draft.kind, draft.body, draft.mentions)
    try:
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
        depth = _depth(draft.body)
        encoded_bytes(draft.frame(draft.attempt))  # refuses some values that `json` accepts, such as subclasses of str
    except (TypeError, ValueError, RecursionError) as error:
        return f"JSON cannot represent the message: {error}"
    return None if depth <= MAX_DEPTH else f"the body may be nested at most {MAX_DEPTH} deep"


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list | tuple) else 0
