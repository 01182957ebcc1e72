"""Three users of the sweep of rights, and what they do: groups, messages with images, and the calls of one of them."""

import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from deploy.local.stack import Stack
from tests.e2e.listening import Listener, listening
from tests.e2e.raw import answered, call, rest_of, text
from tests.e2e.session_calls import Call, Target
from tests.e2e.uploads import media_id_of, message, photo, upload
from tests.waiting import becomes, until


@dataclass(frozen=True)
class Image:
    """An upload, and the tags of its content and its thumbnail."""

    media_id: str
    etag: str
    thumb_etag: str


# Of a form that an upload may have, but there is none.
_GUESSED = Image(uuid.uuid4().hex, f'"{"0" * 64}"', f'"{"0" * 64}-thumb"')


@dataclass
class Sweep:
    """Alice owns, bob is a member and author, eve tries. `seqs` is eve's last in the groups she is no member of.

    `images` are bob's, by the session that each was sent to as seq 2. `own` are uploads that were sent to no session.
    """

    names: Mapping[str, str]
    rest: Mapping[str, Sequence[httpx2.AsyncClient]]
    bobs: Sequence[Listener]
    eves: Sequence[Listener]
    own: Mapping[str, str]
    images: dict[str, Image] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    async def by(self, who: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        """A call that is to be answered."""
        return await call(self.rest[who][0], method, path, **body)

    async def says(self, who: str, session_id: str) -> int:
        """One message; its seq."""
        return int((await self.by(who, "POST", "/v1/messages", **text(session_id=session_id)))["seq"])

    async def shows(self, who: str, session_id: str) -> int:
        """One message with an image; its seq."""
        rest = self.rest[who][0]
        uploaded = await upload(rest, photo())
        etags = [(await rest.head(uploaded[name])).headers["etag"] for name in ("url", "thumb_url")]
        self.images[session_id] = Image(media_id_of(uploaded), *etags)
        fields = message({"session_id": session_id}, uploaded, "image")
        return int((await self.by(who, "POST", "/v1/messages", **fields))["seq"])

    async def reads(self, who: str, name: str, seq: int) -> None:
        """By each gateway up to there; until it is stored."""
        for rest in self.rest[who]:
            await call(rest, "PUT", f"/v1/sessions/{name}/read", seq=seq)

        async def has_come() -> bool:
            return bool((await self.rest[who][0].get(f"/v1/sessions/{name}")).json()["read_seq"] >= seq)

        await becomes(has_come, True)

    async def group(self, *others: str) -> str:
        """A group of alice, bob and others. Bob showed seq 2; eve, if she is in, saw it, wrote and read, too."""
        users = [self.names.get(name, name) for name in ("bob", *others)]
        made = await self.by("alice", "POST", "/v1/groups", name="sweep", members=users)
        name = str(made["session_id"])
        # Whose seat a gateway does not know yet is not handed the next messages of a large group anyway.
        there = [*self.bobs, *(self.eves if "eve" in others else ())]
        await until(lambda: all(1 in one.seqs(name) for one in there), "its members know of the group")
        assert await self.shows("bob", name) == 2
        if "eve" in others:
            for rest in self.rest["eve"]:
                assert (await rest.get(f"/v1/media/{self.images[name].media_id}")).status_code == 200
            await self.says("eve", name)
            await self.reads("eve", name, 2)
        return name

    async def removed(self, name: str, by: str) -> str:
        """Eve is in it no longer."""
        removed = await self.by(by, "DELETE", f"/v1/groups/{name}/members/{self.names['eve']}")
        self.seqs[name] = removed["seq"]
        return name

    async def dissolved(self, name: str) -> str:
        """It has no members any longer."""
        self.seqs[name] = (await self.by("alice", "DELETE", f"/v1/groups/{name}"))["seq"]
        return name

    def target(self, session_id: str, who: str = "eve") -> Target:
        """What this user's calls on a session are about."""
        image = self.images.setdefault(session_id, _GUESSED)
        return Target(session_id, self.names["bob"], 2, image.media_id, image.etag, image.thumb_etag, self.own[who])

    async def tries(self, one: Call, session_id: str, ordinal: int, who: str = "eve") -> httpx2.Response:
        """A user makes the call, about bob's message or bob."""
        target = self.target(session_id, who)
        path, body, headers = one.path(target), one.json(target), one.headers_for(target)
        began = time.perf_counter()
        answer = await answered(self.rest[who][ordinal], one.method, path, body, headers)
        self.seconds.setdefault(session_id, []).append(time.perf_counter() - began)
        return answer


@asynccontextmanager
async def sweeping(stack: Stack) -> AsyncIterator[Sweep]:
    """Three people; eve and bob are connected to both gateways, as they stay whatever becomes of eve."""
    run = uuid.uuid4().hex[:6]
    names = {name: f"{run}-{name}" for name in ("alice", "bob", "eve")}
    gateways = range(stack.counts.gateways)
    async with AsyncExitStack() as exits:
        rest = {
            name: [await exits.enter_async_context(rest_of(stack, user_id, ordinal)) for ordinal in gateways]
            for name, user_id in names.items()
        }
        bobs, eves = [
            [await exits.enter_async_context(listening(stack, names[name], f"at-{at}", at)) for at in gateways]
            for name in ("bob", "eve")
        ]
        own = {name: media_id_of(await upload(rest[name][0], photo())) for name in names}
        yield Sweep(names, rest, bobs, eves, own)
