"""Pass after pass, with results as metrics, also when a server goes away in the middle."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.auditor import service
from services.auditor.service import audit
from tests.unit.audit.tables import Tables
from tests.waiting import becomes
from tidings.audit.auditor import AuditRules
from tidings.metrics import AUDIT_FINDINGS, AUDIT_LAST_PASS_SECONDS
from tidings.runtime.backoff import Backoff

RULES = AuditRules(0, 0)


async def missing() -> float:
    return float(AUDIT_FINDINGS.labels("missing")._value.get())


async def has_passed() -> bool:
    return bool(AUDIT_LAST_PASS_SECONDS._value.get())


def begun(tables: Tables) -> "asyncio.Task[None]":
    AUDIT_LAST_PASS_SECONDS.set(0)
    return asyncio.create_task(audit(tables.world.ports, tables.walk, RULES, 0.01))


async def ended(auditing: "asyncio.Task[Any]") -> None:
    auditing.cancel()
    await asyncio.gather(auditing, return_exceptions=True)


async def test_each_pass_shows_what_it_has_found(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    await tables.session((1, 5))
    tables.drop("inbox", ("bob", 0), 2)
    auditing = begun(tables)
    await becomes(has_passed, True)
    await becomes(missing, 1.0)
    await tables.write(*tables.inbox_rows("bob", 2, tables.world.written["d:alice:bob"][1]))
    await becomes(missing, 0.0)
    await ended(auditing)


async def test_a_pass_waits_for_tables_that_are_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_BACKOFF", Backoff(first_ms=10, most_ms=10))
    tables = Tables(tmp_path)
    await tables.session((1, 5))
    tables.store.stall()
    auditing = begun(tables)
    await asyncio.sleep(0.1)
    assert not await has_passed()
    tables.store.heal()
    await becomes(has_passed, True)
    await ended(auditing)
