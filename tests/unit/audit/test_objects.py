"""Findings among objects, and a store that is away."""

from tests.faults.media import MediaFaults, MediaRates, ReadFault
from tests.unit.audit.tables import MEDIA_ID, OBJECT_KEY, SESSION, Tables, _chunks
from tidings.audit.auditor import SHARDS, Audited
from tidings.audit.rules import Finding
from tidings.ids import DAY_MS
from tidings.store.media_rows import MediaRefRow


async def archived(tables: Tables) -> str:
    """A world with one cold segment. Returns the key of its object."""
    await tables.session((200, 5), (2, 7))
    await tables.world.archive()
    return next(key for key in tables.world.objects.objects if key.startswith("cold/"))


def go_away(tables: Tables) -> None:
    tables.world.objects.faults = MediaFaults(rates=MediaRates(read_failed=1.0))


async def test_an_upload_with_row_and_object_has_no_finding(tables: Tables) -> None:
    await tables.session((1, 1))
    await tables.upload()
    assert (await tables.audit()).said == []


async def test_a_reference_without_an_upload_is_orphaned(tables: Tables) -> None:
    await tables.write(MediaRefRow(MEDIA_ID, SESSION, 4))
    assert (await tables.audit()).texts == [
        f"orphaned: upload {MEDIA_ID}: {SESSION} seq 4 refers to it, and it has no row"
    ]


async def test_an_upload_without_its_object_is_orphaned(tables: Tables) -> None:
    await tables.session((1, 1))
    await tables.upload()
    await tables.world.objects.delete([OBJECT_KEY])
    assert (await tables.audit()).texts == [f"orphaned: upload {MEDIA_ID}: its object {OBJECT_KEY} is gone"]


async def test_archived_segments_with_objects_have_no_finding(tables: Tables) -> None:
    await archived(tables)
    tables.world.clock.now_ms += 2 * DAY_MS
    assert (await tables.audit()).said == []


async def test_a_lost_archived_object_is_missing(tables: Tables) -> None:
    key = await archived(tables)
    await tables.world.objects.delete([key])
    assert (await tables.audit()).texts == [f"missing: object {key}: it is gone, and 1 segments are in it"]


async def test_an_object_without_a_segment_is_orphaned_after_a_day(tables: Tables) -> None:
    key = await archived(tables)
    stray = f"{key.rpartition('/')[0]}/stray.parquet"
    await tables.world.objects.put(stray, _chunks(b"x"))
    assert (await tables.audit()).said == []
    tables.world.clock.now_ms += DAY_MS + 1
    assert (await tables.audit()).texts == [f"orphaned: object {stray}: no segment is in it"]


async def test_a_store_that_is_away_is_not_looked_at(tables: Tables) -> None:
    await tables.upload()
    await tables.upload("b" * 32, f"20000/{'b' * 32}/content")
    await archived(tables)
    tables.world.objects.objects.clear()
    go_away(tables)
    result = await tables.audit()
    assert result.said == []
    assert result.done.unseen.pop("uploads") == 2
    assert all(part.startswith("cold/") for part in result.done.unseen)
    assert result.done.unseen.total() >= 1


async def test_a_lost_row_is_found_while_the_store_is_away(tables: Tables) -> None:
    await tables.upload()
    await tables.write(MediaRefRow("c" * 32, SESSION, 1))
    go_away(tables)
    result = await tables.audit()
    assert result.kinds.count("orphaned") == 1
    assert dict(result.done.unseen) == {"uploads": 1}


async def test_a_single_failed_answer_is_not_looked_at_either(tables: Tables) -> None:
    await tables.session((1, 1))
    await tables.upload()
    await tables.upload("b" * 32, f"20000/{'b' * 32}/content")
    tables.world.objects.objects.clear()
    tables.world.objects.faults.script_read(ReadFault.FAILED)
    result = await tables.audit()
    assert len(result.said) == 1
    assert dict(result.done.unseen) == {"uploads": 1}


async def test_a_store_that_comes_back_is_asked_by_the_next_part(tables: Tables) -> None:
    await tables.upload()
    key = await archived(tables)
    await tables.world.objects.delete([key])
    go_away(tables)
    said: list[Finding] = []
    auditor = tables.auditor(said)

    def progress(done: Audited) -> None:
        if done.place.part == SHARDS:
            tables.world.objects.faults = MediaFaults()

    auditor._progress = progress
    done = await auditor.run()
    assert [one.place for one in said] == [f"object {key}"]
    assert dict(done.unseen) == {"uploads": 1}
