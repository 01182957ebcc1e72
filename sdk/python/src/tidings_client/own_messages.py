"""Own messages that are pending or failed, and the handles of the application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

from tidings_client.drafts import Draft, FailedDraft
from tidings_client.effects import Status, StatusChanged
from tidings_client.errors import Stopped
from tidings_client.frames import encoded_bytes
from tidings_client.handles import SentMessage
from tidings_client.keeping import Keeper

FAILED_KEPT = 1_000  # above it the oldest ones are discarded
FAILED_BYTES = 256 * 1024  # of one message; a larger one is discarded at once


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message that is not stored: pending (`code` None), or failed. `sent` is its handle."""

    message: Draft
    sent: SentMessage
    code: str | None = None
    reason: str = ""


class OwnMessages:
    """Pending and failed messages. They are in the outbox too, so a restart finds them again."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._handles: WeakValueDictionary[str, SentMessage] = WeakValueDictionary()
        self._under_way: dict[str, Draft] = {}
        self._failed: dict[str, FailedDraft] = {}

    def recall(self, failed: Iterable[FailedDraft]) -> None:
        """Add messages that failed in an earlier process."""
        self._failed.update((one.draft.client_msg_id, one) for one in failed)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def is_under_way(self, client_msg_id: str) -> bool:
        return client_msg_id in self._under_way

    def handle(self, client_msg_id: str) -> SentMessage:
        """The handle of this message, a new one if the application holds none."""
        handle = self._handles.get(client_msg_id)
        if handle is None:
            handle = self._handles[client_msg_id] = SentMessage(client_msg_id)
            if (failed := self._failed.get(client_msg_id)) is not None:
                handle.moved(_failure(failed))
        return handle

    def new_handle(self, client_msg_id: str) -> SentMessage:
        """A handle for a new message. An earlier handle of the same id keeps its status."""
        handle = self._handles[client_msg_id] = SentMessage(client_msg_id)
        return handle

    def begin(self, draft: Draft) -> None:
        self._under_way[draft.client_msg_id] = draft
        self._failed.pop(draft.client_msg_id, None)

    def dropped(self, client_msg_id: str) -> None:
        """The outbox could not store the message, so it was never sent."""
        self._under_way.pop(client_msg_id, None)

    def moved(self, event: StatusChanged) -> None:
        """The status of a message has changed."""
        if event.status is Status.SENT:
            self._forget(event.client_msg_id)
        elif event.status is Status.FAILED:
            self._fail(event)
        if (handle := self._handles.get(event.client_msg_id)) is not None:
            handle.moved(event)

    def keep_as(self, was: str, draft: Draft) -> asyncio.Future[None]:
        """Send a message under a new id, or again under its old one. Completes when the outbox has stored it."""
        self._under_way.pop(was, None)
        self._failed.pop(was, None)
        self._under_way[draft.client_msg_id] = draft
        if was != draft.client_msg_id and (handle := self._handles.pop(was, None)) is not None:
            handle.client_msg_id = draft.client_msg_id
            self._handles[draft.client_msg_id] = handle
        return self._keeper.replace(was, draft)

    def unsent(self) -> Iterator[Unsent]:
        """Failed messages, then pending ones, each in the order of composing."""
        for failed in self._failed.values():
            yield Unsent(failed.draft, self.handle(failed.draft.client_msg_id), failed.code, failed.reason)
        for draft in self._under_way.values():
            yield Unsent(draft, self.handle(draft.client_msg_id))

    def failed(self, client_msg_id: str) -> FailedDraft:
        """Raises KeyError if no such message has failed."""
        return self._failed[client_msg_id]

    def discard(self, client_msg_id: str) -> None:
        """Forget a failed message. Safe to repeat."""
        if client_msg_id in self._failed:
            self._forget(client_msg_id)

    def abandoned(self, error: Stopped) -> None:
        """The client has stopped."""
        for handle in list(self._handles.values()):
            handle.abandoned(error)

    def _forget(self, client_msg_id: str) -> None:
        self._under_way.pop(client_msg_id, None)
        self._failed.pop(client_msg_id, None)
        self._keeper.settle(client_msg_id)

    def _fail(self, event: StatusChanged) -> None:
        draft = self._under_way.pop(event.client_msg_id, None)
        if draft is None:  # the message was refused before the outbox stored it
            return
        if encoded_bytes(draft.frame(1)) > FAILED_BYTES:
            self._keeper.settle(event.client_msg_id)
            return
        failed = FailedDraft(draft, event.code or "unknown", event.reason or "")
        self._failed[event.client_msg_id] = failed
        self._keeper.fail(failed)
        while len(self._failed) > FAILED_KEPT:
            self._forget(next(iter(self._failed)))


def _failure(failed: FailedDraft) -> StatusChanged:
    return StatusChanged(failed.draft.client_msg_id, Status.FAILED, code=failed.code, reason=failed.reason)
