"""Uploads on the real servers: sent, fetched by the right users, kept under kills, and swept."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from deploy.local.stack import Stack
from tests.e2e.raw import call, rest_of
from tests.e2e.tables import tables_of
from tests.e2e.uploads import CHANCE, message, photo, upload
from tests.sockets import Frame
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.clock import SystemClock
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore
from tidings.media.sweep import GRACE_MS, KEEP_MS, Sweep
from tidings.runtime.persister_progress import persister_has_passed
from tidings.runtime.settings import KafkaSettings
from tidings.runtime.start import started


async def status(http: httpx2.AsyncClient, url: str) -> int:
    return (await http.get(url)).status_code


@pytest.mark.promise("G10")
async def test_upload_is_fetched_by_members_from_their_joining(stack: Stack) -> None:
    run = uuid.uuid4().hex[:8]
    alice, bob, carol, dave = (f"{name}-{run}" for name in ("alice", "bob", "carol", "dave"))
    async with (
        rest_of(stack, alice) as a,
        rest_of(stack, bob, 1) as b,
        rest_of(stack, carol) as c,
        rest_of(stack, dave) as d,
    ):
        image = await upload(a, photo(), **{"X-File-Name": "%E4%BD%A0%E5%A5%BD.jpg", "Content-Type": "text/plain"})
        assert (image["width"], image["height"], image["content_type"]) == (20, 40, "image/jpeg")
        assert [await status(one, image["url"]) for one in (a, b, c)] == [200, 404, 404]
        made = (await a.post("/v1/groups", json={"client_msg_id": run, "name": "Team", "members": [bob, dave]})).json()
        stored = await call(a, "POST", "/v1/messages", **message({"session_id": made["session_id"]}, image, "image"))
        members = f"/v1/groups/{made['session_id']}/members"
        assert (await a.post(members, json={"user_ids": [carol]})).status_code == 200
        assert (await a.delete(f"{members}/{dave}")).status_code == 200
        assert [await status(one, image["url"]) for one in (a, b, c, d)] == [200, 200, 404, 404]
        assert [await status(one, image["thumb_url"]) for one in (a, b, c, d)] == [200, 200, 404, 404]
        history = (
            await b.get(f"/v1/sessions/{made['session_id']}/messages?after_seq={stored['seq'] - 1}&limit=1")
        ).json()
        body = history["messages"][0]["body"]
        assert body == {key: image[key] for key in ("url", "thumb_url", "width", "height", "size", "content_type")}
        fetched = await b.get(image["url"])
        assert b"at home" not in fetched.content
        assert fetched.headers["x-content-type-options"] == "nosniff"
        assert fetched.headers["content-disposition"].startswith("attachment")
        assert (await b.get(image["url"], headers={"If-None-Match": fetched.headers["etag"]})).status_code == 304
        await call(a, "POST", "/v1/messages", **message({"session_id": made["session_id"]}, image, "image"))
        assert [await status(one, image["url"]) for one in (b, c, d)] == [200, 200, 404]
        refused = await b.post("/v1/messages", json=message({"to": carol}, image, "image"))
        assert (refused.status_code, refused.json()["code"]) == (404, "media_not_found")


@pytest.mark.promise("G1")
async def test_acked_message_keeps_its_upload_under_kills(stack: Stack) -> None:
    run = uuid.uuid4().hex[:8]
    alice, bob = f"alice-{run}", f"bob-{run}"
    persisters = [name for name in stack.names() if name.startswith("persister")]
    async with rest_of(stack, alice) as a, rest_of(stack, bob, 1) as b:
        uploads = [await upload(a, CHANCE.randbytes(2_000)) for _ in range(40)]
        for some in (uploads[:20], uploads[20:]):
            sending = [
                asyncio.create_task(call(a, "POST", "/v1/messages", **message({"to": bob}, one))) for one in some
            ]
            await asyncio.sleep(CHANCE.random() / 20)
            for name in persisters:
                await asyncio.to_thread(stack.kill, name)
            for name in persisters:
                await asyncio.to_thread(stack.start, name)
            await asyncio.gather(*sending)
            assert [await status(b, one["url"]) for one in some] == [200] * len(some)
        await asyncio.to_thread(stack.wait_ready)


class LaterClock(SystemClock):
    """A clock of the sweep's own."""

    ahead_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms


@asynccontextmanager
async def sweeping(stack: Stack, clock: LaterClock) -> AsyncIterator[Sweep]:
    settings = KafkaSettings(bootstrap=stack.bootstrap)
    broker = KafkaBroker(KafkaConfig.of(settings))
    admin, reader = broker.admin(), broker.reader("sweep")
    objects = ObstoreMediaStore(MediaStoreConfig(folder=str(stack.media_dir)))
    async with tables_of(stack) as tables, started(admin, reader):

        async def passed() -> bool:
            return await persister_has_passed(admin, reader, settings.session_partitions, 60.0)

        yield Sweep(tables, objects, clock, passed)
        await objects.close()


async def test_sweep_removes_unsent_uploads_and_no_sent_one(stack: Stack) -> None:
    run = uuid.uuid4().hex[:8]
    alice, bob = f"alice-{run}", f"bob-{run}"
    clock = LaterClock()
    async with rest_of(stack, alice) as a, rest_of(stack, bob, 1) as b:
        uploads = [await upload(a, CHANCE.randbytes(500)) for _ in range(30)]
        for one in uploads[:10]:
            await call(a, "POST", "/v1/messages", **message({"to": bob}, one))
        for ahead_ms, sent in ((KEEP_MS, uploads[10:20]), (KEEP_MS + GRACE_MS, uploads[20:])):
            clock.ahead_ms = ahead_ms + 60_000
            async with sweeping(stack, clock) as sweep:
                answers, _ = await asyncio.gather(_send_all(a, bob, sent), sweep.run(days_back=3))
            for one, answer in zip(sent, answers, strict=True):
                # A message is either refused, or its upload stays.
                assert answer in (201, 404)
                assert await status(b, one["url"]) == {201: 200, 404: 404}[answer]
        assert [await status(b, one["url"]) for one in uploads[:10]] == [200] * 10
        # All that was marked before its message was sent is gone at the end.
        assert set(answers) == {404}
        assert [await status(a, one["url"]) for one in uploads[20:]] == [404] * 10


async def _send_all(http: httpx2.AsyncClient, to: str, uploads: list[Frame]) -> list[int]:
    return [(await http.post("/v1/messages", json=message({"to": to}, one))).status_code for one in uploads]
