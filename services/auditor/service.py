"""Passes one after the other, with their results as metrics and log lines."""

import asyncio

from tidings.audit.auditor import Audited, Auditor, AuditRules, show_pass
from tidings.audit.rules import KINDS, Finding
from tidings.cold.ports import Ports
from tidings.errors import Retryable
from tidings.logging import logger
from tidings.runtime.backoff import Backoff
from tidings.store.audit_tables import AuditTables

_log = logger("tidings.auditor")

_BACKOFF = Backoff(first_ms=1_000, most_ms=30_000)
# Of a pass of hours.
_PROGRESS_S = 600.0


async def audit(ports: Ports, tables: AuditTables, rules: AuditRules, pause_s: float) -> None:
    """Pass after pass, until it is cancelled."""
    while True:
        done = await _pass(ports, tables, rules)
        show_pass(done, ports.clock.wall_ms())
        found = {kind: done.found[kind] for kind in KINDS}
        _log.info("audited", rows=done.rows, places=done.places, unseen=dict(done.unseen), found=found)
        await asyncio.sleep(pause_s)


async def _pass(ports: Ports, tables: AuditTables, rules: AuditRules) -> Audited:
    """One whole pass. While a server is away, it waits, and continues where it was."""
    said_ms, failures = ports.clock.monotonic_ms(), 0

    def progress(done: Audited) -> None:
        nonlocal said_ms, failures
        failures = 0
        if ports.clock.monotonic_ms() - said_ms >= _PROGRESS_S * 1000:
            said_ms = ports.clock.monotonic_ms()
            _log.info("auditing", position=str(done.place), rows=done.rows, percent=round(100 * done.share))

    auditor = Auditor(ports, tables, rules, progress, _say)
    while True:
        try:
            return await auditor.run()
        except Retryable as error:
            failures += 1
            _log.warning("audit waits", position=str(auditor.audited.place), reason=str(error))
            await asyncio.sleep(_BACKOFF.wait_ms(failures) / 1000)


def _say(finding: Finding) -> None:
    _log.error("audit finding", kind=finding.kind, place=finding.place, reason=finding.problem)
