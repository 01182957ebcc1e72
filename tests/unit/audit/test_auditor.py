"""The walk: whole, paced, continued, and twice where something looks wrong."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import message
from tests.unit.audit.tables import SESSION, Result, Tables, key_of
from tidings.audit.auditor import BEGINNING, END, PARTS, Audited, Place, show_pass
from tidings.audit.rules import KINDS, Finding
from tidings.errors import StoreUnavailable
from tidings.metric_series import SERIES
from tidings.metrics import AUDIT_FINDINGS, AUDIT_LAST_PASS_SECONDS, AUDIT_UNSEEN
from tidings.store.audit_tables import FIRST_TOKEN

SEGMENTS = st.lists(st.tuples(st.integers(0, 89), st.integers(1, 12)), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), SEGMENTS), max_size=6), st.integers(1, 20))
def test_sound_tables_have_no_finding(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, str, list[tuple[int, int]]]], hot_days: int
) -> None:
    """Any sessions with any age and number of segments, archived or not."""

    async def run() -> Result:
        tables = Tables(tmp_path_factory.mktemp("audit"))
        for one, other, segments in plan:
            first, second = sorted((one, other))
            await tables.session(*segments, session_id=f"d:{first}:{second}")
        await tables.audit()
        if hot_days > 10:
            await tables.world.archive(hot_days=hot_days)
        return await tables.audit()

    assert asyncio.run(run()).said == []


async def test_a_write_in_progress_is_no_finding(tables: Tables) -> None:
    """The second look sees what came between."""
    await tables.session((1, 3))
    late = message(SESSION, 4)
    await tables.write(key_of(late))
    auditing = asyncio.create_task(tables.audit(settle_s=0.2))
    await asyncio.sleep(0.1)
    await tables.write(late)
    assert (await auditing).said == []


async def test_a_finding_is_said_once(tables: Tables) -> None:
    for number in range(30):
        await tables.session((1, 3), session_id=f"d:a{number}:b{number}")
    tables.drop("inbox", ("a7", 0), 2)
    result = await tables.audit()
    assert result.texts == ["missing: inbox a7: inbox_seq 2 is lost"]
    assert dict(result.done.found) == {"missing": 1}


async def test_a_walk_continues_at_any_position(tables: Tables) -> None:
    for number in range(30):
        await tables.session((1, 3), session_id=f"d:a{number}:b{number}")
        tables.drop("inbox", (f"b{number}", 0), 2)
    places: list[Place] = []
    auditor = tables.auditor()
    auditor._progress = lambda done: places.append(done.place)
    whole = await auditor.run()
    assert whole.place == END
    for place in places[:: max(1, len(places) // 12)]:
        rest = await tables.audit(Place.of(str(place)))
        before = await tables.audit()
        assert {*rest.texts} <= {*before.texts}
        assert rest.done.places <= whole.places
    assert (await tables.audit(BEGINNING)).done.places == whole.places
    assert (await tables.audit(END)).done.places == 0


async def test_a_failed_read_is_repeated_where_it_was(tables: Tables) -> None:
    for number in range(20):
        await tables.session((1, 3), session_id=f"d:a{number}:b{number}")
        tables.drop("inbox", (f"b{number}", 0), 2)
    said: list[Finding] = []
    auditor = tables.auditor(said)
    stops, failures = [5, 31, 90], 0

    def progress(done: Audited) -> None:
        if stops and done.places > stops[0]:
            stops.pop(0)
            tables.store.stall()

    auditor._progress = progress
    while auditor.audited.place != END:
        try:
            await auditor.run()
        except StoreUnavailable:
            failures += 1
            tables.store.heal()
    assert failures == 3
    assert len(said) == 20
    assert auditor.audited.found["missing"] == 20


async def test_the_share_grows_from_0_to_1(tables: Tables) -> None:
    for number in range(20):
        await tables.session((1, 3), session_id=f"d:a{number}:b{number}")
    shares: list[float] = []
    auditor = tables.auditor()
    auditor._progress = lambda done: shares.append(done.share)
    assert Audited().share == 0
    await auditor.run()
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize("text", ["", "inbox", "inbox:", "inbox:x", "elsewhere:1", "inbox:--1", "inbox:1.5"])
def test_a_text_that_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no position"):
        Place.of(text)


@pytest.mark.parametrize("part", PARTS)
def test_a_position_survives_its_text(part: str) -> None:
    assert Place.of(str(Place(part, FIRST_TOKEN))) == Place(part, FIRST_TOKEN)


async def test_a_whole_pass_sets_the_gauges(tables: Tables) -> None:
    await tables.session((1, 5))
    tables.drop("inbox", ("bob", 0), 2)
    show_pass((await tables.audit()).done, 7_000)
    shown = {kind: AUDIT_FINDINGS.labels(kind)._value.get() for kind in KINDS}
    assert shown == {"missing": 1, "doubled": 0, "out_of_order": 0, "orphaned": 0}
    assert AUDIT_LAST_PASS_SECONDS._value.get() == 7
    assert AUDIT_UNSEEN._value.get() == 0


def test_the_kinds_are_those_of_the_metric() -> None:
    (series,) = [one for one in SERIES if one.metric is AUDIT_FINDINGS]
    assert [values for (values,) in series.labels["auditor"]] == list(KINDS)
