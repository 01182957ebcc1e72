"""Messages before they are stored, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidings_client.frames import Send
from tidings_client.ids import direct_session


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as its author composed it. Its id does not change once a try may have stored the message.

    `attempt` is the number of the next try, for operators. Above 1 an earlier process may have tried the message.
    `id_is_given`: the application chose the id, and the client never changes it.
    `is_untried`: composed before the server's time was available, and not tried since. The outbox records the end of
    this state before the first try."""

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
        """The session of the message if this user sends it."""
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
    """A message that the client no longer tries; `code` and `reason` give the cause."""

    draft: Draft
    code: str
    reason: str
