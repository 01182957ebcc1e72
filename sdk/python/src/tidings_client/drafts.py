"""Messages before they are stored. Frozen; no behaviour but their frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidings_client.frames import Send
from tidings_client.ids import direct_session


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as its author composed it, under an id that does not change while a try may have stored it.
    `attempt` is the number of its next try, for the operator's eyes; above 1 an earlier process may have tried it.
    `id_is_given`: the application chose the id, and it is never changed. `is_untried`: composed before the server's
    time was known, and not tried since; the outbox learns of its end before the first try."""

    client_msg_id: str
    kind: str
    body: dict[str, Any]
    session_id: str | None = None
    to: str | None = None
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()
    attempt: int = 1
    id_is_given: bool = False
    is_untried: bool = False

    def session_of(self, user_id: str) -> str:
        """The session it goes to when this user sends it."""
        return self.session_id or direct_session(user_id, self.to or user_id)

    def frame(self, attempt: int) -> Send:
        """The frame of one try."""
        return Send(
            client_msg_id=self.client_msg_id,
            kind=self.kind,
            body=self.body,
            attempt=attempt,
            session_id=self.session_id,
            to=self.to,
            reply_to=self.reply_to,
            mentions=self.mentions,
        )


@dataclass(frozen=True, slots=True)
class FailedDraft:
    """One that was given up; `code` and `reason` say why."""

    draft: Draft
    code: str
    reason: str
