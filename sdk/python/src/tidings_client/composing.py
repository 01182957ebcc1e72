"""From what an application wants to say to the draft that is sent. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from tidings_client.drafts import Draft
from tidings_client.frames import encoded_bytes
from tidings_client.ids import checked_message_id, checked_session, checked_user

MAX_DEPTH = 31  # PROTOCOL: a frame nests at most 32 deep, and it is itself the first


class Address(TypedDict, total=False):
    """Where a message goes: `to` a user, or to a `session_id` (of a group, too); and what it refers to. A
    `client_msg_id` of one's own makes sending idempotent across restarts; it is made here otherwise."""

    to: str
    session_id: str
    reply_to: int
    mentions: Iterable[str]
    client_msg_id: str


def draft_of(
    kind: str, body: dict[str, Any], address: Address, make_id: Callable[[], str], *, is_untried: bool = False
) -> Draft:
    """The message, under the caller's id or a new one. ValueError unless it goes to exactly one place, and InvalidId
    for what is no id."""
    if ("to" in address) == ("session_id" in address):
        raise ValueError("a message goes either `to` a user or to a `session_id`")
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
    """Why no frame can carry this draft; None: one can. The encoder of frames would let some of it through as
    something else (NaN as null, bytes as text), and what nests too deep ends the whole connection."""
    place = (draft.client_msg_id, draft.session_id, draft.to, draft.reply_to)
    content = (place, draft.kind, draft.body, draft.mentions)
    try:
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
        depth = _depth(draft.body)
        encoded_bytes(draft.frame(draft.attempt))  # it refuses some that json takes, as subclasses of str
    except (TypeError, ValueError, RecursionError) as error:
        return f"JSON cannot hold it: {error}"
    return None if depth <= MAX_DEPTH else f"the body may be nested at most {MAX_DEPTH} deep"


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list | tuple) else 0
