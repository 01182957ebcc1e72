"""Logs each outage once, because a program that waits for messages would otherwise show no sign of it."""

from __future__ import annotations

import logging

from tidings_client.effects import Event, Link, LinkChanged

log = logging.getLogger(__name__)


class Outages:
    """Follows the events of a client. A connection that is lost and replaced at the first try is not logged."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_connecting = False
        self._is_logged = False

    def follow(self, event: Event | None) -> None:
        """Python prints a warning on standard error, unless the application has configured `logging` otherwise."""
        if not isinstance(event, LinkChanged):
            return
        if event.link is Link.OFFLINE and self._is_connecting and not self._is_logged:
            log.warning("no connection to %s (%s); trying again", self._url, event.reason or event.code)
            self._is_logged = True
        elif event.link is Link.READY and self._is_logged:
            log.warning("connected to %s", self._url)
            self._is_logged = False
        self._is_connecting = event.link in (Link.CONNECTING, Link.SIGNING_IN)
