"""Keys and settings, rates, blocks, batched reads, waiting calls."""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.gateway.protocol.rate_limits import RateLimits
from services.gateway.reads.batching import BATCHES_AT_ONCE, MAX_KEYS, Batched
from services.gateway.reads.block_lists import GATHER_S, BlockLists
from services.gateway.settings import GroupIdSettings, HttpSettings, TokenSettings, read_group_key, read_keys
from services.gateway.submit.pending_calls import PendingCalls
from services.gateway.tokens import Tokens, public_keys, secret_key
from tidings.errors import ConfigurationError, Refused, StoreUnavailable
from tidings.store.memory import MemoryStore
from tidings.store.rows import BlockList

GOOD_SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
WALL_MS = 1_764_000_000_000


class FakeClock:
    def __init__(self) -> None:
        self.now_ms = 0

    def wall_ms(self) -> int:
        return WALL_MS + self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


# -- tokens ----------------------------------------------------------------------------------------


def pem_of(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def claims(**changes: object) -> dict[str, object]:
    return {"sub": "alice", "aud": "tidings", "iat": WALL_MS // 1000, "exp": WALL_MS // 1000 + 60, **changes}


def test_tokens_of_every_public_key_in_the_file_are_taken() -> None:
    keys: dict[str, Any] = {
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "RS256": rsa.generate_private_key(65537, 2048),
    }
    tokens = Tokens(public_keys("\n".join(pem_of(key) for key in keys.values())), "tidings")
    for algorithm, key in keys.items():
        identity = tokens.verify(jwt.encode(claims(), key, algorithm=algorithm), WALL_MS)
        assert (identity.user_id, identity.valid_for_ms) == ("alice", 65_000)
    stranger = jwt.encode(claims(), ed25519.Ed25519PrivateKey.generate(), algorithm="EdDSA")
    with pytest.raises(Refused, match="no key of this deployment"):
        tokens.verify(stranger, WALL_MS)


def test_a_public_key_is_never_taken_for_a_secret() -> None:
    key = rsa.generate_private_key(65537, 2048)
    tokens = Tokens(public_keys(pem_of(key)), "tidings")
    for forged in (
        jwt.encode(claims(), "x" * 40, algorithm="HS256"),
        jwt.encode(claims(), "", algorithm="none"),
    ):
        with pytest.raises(Refused) as refused:
            tokens.verify(forged, WALL_MS)
        assert refused.value.code == "unauthorized"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": WALL_MS // 1000 - 5}, "token_expired"),
        ({"exp": "soon"}, "unauthorized"),
        ({"exp": True}, "unauthorized"),
        ({"aud": "other"}, "unauthorized"),
        ({"sub": "a b"}, "unauthorized"),
        ({"nbf": 4_000_000_000}, "unauthorized"),
    ],
)
def test_claims_are_judged(changes: dict[str, object], code: str) -> None:
    tokens = Tokens([secret_key(GOOD_SECRET)], "tidings")
    with pytest.raises(Refused) as refused:
        tokens.verify(jwt.encode(claims(**changes), GOOD_SECRET, algorithm="HS256"), WALL_MS)
    assert refused.value.code == code


@pytest.mark.parametrize("missing", ["sub", "aud", "iat", "exp"])
def test_every_claim_is_required(missing: str) -> None:
    tokens = Tokens([secret_key(GOOD_SECRET)], "tidings")
    token = jwt.encode({name: value for name, value in claims().items() if name != missing}, GOOD_SECRET)
    with pytest.raises(Refused) as refused:
        tokens.verify(token, WALL_MS)
    assert refused.value.code == "unauthorized"


def test_a_token_holds_5_s_beyond_its_exp() -> None:
    tokens = Tokens([secret_key(GOOD_SECRET)], "tidings")
    token = jwt.encode(claims(exp=WALL_MS // 1000), GOOD_SECRET)
    assert tokens.verify(token, WALL_MS + 4_999).valid_for_ms == 1
    with pytest.raises(Refused, match="token_expired"):
        tokens.verify(token, WALL_MS + 5_000)


@pytest.mark.parametrize(
    "tokens",
    [
        {},
        {"secret": "short"},
        {"secret": "a" * 40},
        {"keys_file": "missing.pem"},
        {"keys_file": __file__},
    ],
)
def test_outside_development_mode_weak_or_missing_keys_are_refused(tokens: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        read_keys(TokenSettings(**tokens), development=False)


def test_the_development_key_is_made_once_and_shared(tmp_path: Path) -> None:
    chosen = TokenSettings(dev_key_file=str(tmp_path / "deep" / "dev.key"))
    first, second = read_keys(chosen, development=True), read_keys(chosen, development=True)
    assert first.signing == second.signing == (tmp_path / "deep" / "dev.key").read_bytes()
    assert (tmp_path / "deep" / "dev.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["dev.key"]


@pytest.mark.parametrize("secret", ["", "short", "a" * 40])
def test_outside_development_mode_a_weak_or_missing_secret_of_group_ids_is_refused(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="TIDINGS_GROUP_ID_SECRET"):
        read_group_key(GroupIdSettings(id_secret=secret), TokenSettings(), development=False)


def test_in_development_mode_too_a_weak_secret_of_group_ids_is_refused(tmp_path: Path) -> None:
    tokens = TokenSettings(dev_key_file=str(tmp_path / "dev.key"))
    with pytest.raises(ConfigurationError, match="TIDINGS_GROUP_ID_SECRET"):
        read_group_key(GroupIdSettings(id_secret="short"), tokens, development=True)


def test_the_key_of_group_ids_is_of_the_secret_or_in_development_mode_of_the_shared_key(tmp_path: Path) -> None:
    tokens = TokenSettings(dev_key_file=str(tmp_path / "dev.key"))
    chosen = GroupIdSettings(id_secret=GOOD_SECRET)
    one = read_group_key(chosen, tokens, development=False)
    assert one == read_group_key(chosen, tokens, development=True)
    assert not (tmp_path / "dev.key").exists()
    shared = [read_group_key(GroupIdSettings(), tokens, development=True) for _ in range(2)]
    assert shared[0] == shared[1] != one
    # It is no key that signs tokens.
    assert shared[0] != (tmp_path / "dev.key").read_bytes()


def test_media_hosts_are_compared_in_lower_case() -> None:
    rules = HttpSettings(media_hosts="Media.Example, cdn.example").body_rules()
    assert rules.media_hosts == {"media.example", "cdn.example"}


# -- rates -----------------------------------------------------------------------------------------


def test_a_burst_is_allowed_and_then_the_rate_holds() -> None:
    rates = RateLimits(messages_per_s=10, burst=3)
    for _ in range(3):
        rates.take("alice", 1, 0)
    with pytest.raises(Refused) as refused:
        rates.take("alice", 1, 0)
    assert refused.value.retry_after_ms == 101
    rates.take("bob", 3, 0)
    rates.take("alice", 1, 101)
    with pytest.raises(Refused):
        rates.take("alice", 1, 102)


def test_more_than_a_burst_at_once_waits_for_a_whole_burst_and_not_for_ever() -> None:
    rates = RateLimits(messages_per_s=10, burst=3)
    rates.take("alice", 500, 0)
    with pytest.raises(Refused) as refused:
        rates.take("alice", 500, 0)
    assert refused.value.retry_after_ms == 301
    rates.take("alice", 500, 301)


# -- blocks ----------------------------------------------------------------------------------------


async def test_a_block_made_elsewhere_holds_within_5_s() -> None:
    clock, store = FakeClock(), MemoryStore()
    blocks = BlockLists(store, clock)
    assert not await blocks.blocks("bob", "alice")
    await store.replace_block_list(BlockList("bob", ("alice",), 1), 0)
    clock.now_ms = 3_999
    assert not await blocks.blocks("bob", "alice")
    clock.now_ms = 5_000
    assert await blocks.blocks("bob", "alice")


async def test_a_list_in_use_is_read_again_before_anybody_has_to_wait_for_it() -> None:
    clock, store = FakeClock(), MemoryStore()
    blocks = BlockLists(store, clock)
    await blocks.blocks("bob", "alice")
    clock.now_ms = 2_000
    for _ in range(3):
        await blocks.blocks("bob", "alice")
    await asyncio.sleep(2 * GATHER_S)
    assert store.calls["block_lists"] == 2
    clock.now_ms = 5_900
    store.stall()
    assert not await blocks.blocks("bob", "alice")


class SlowBlocks(MemoryStore):
    """The first read of blocks answers with what it found at its begin, and not before `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = asyncio.Event()
        self.go = asyncio.Event()

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        found = await super().block_lists(user_ids)
        if not self.reading.is_set():
            self.reading.set()
            await self.go.wait()
        return found


async def test_a_block_made_here_holds_at_once_also_while_it_is_being_read() -> None:
    store = SlowBlocks()
    blocks = BlockLists(store, FakeClock())
    reading = asyncio.create_task(blocks.blocks("bob", "alice"))
    await asyncio.sleep(0)
    await store.reading.wait()
    await blocks.add("bob", "alice")
    store.go.set()
    assert not await reading
    assert await blocks.blocks("bob", "alice")
    await blocks.remove("bob", "alice")
    assert not await blocks.blocks("bob", "alice")


# -- batched reads ---------------------------------------------------------------------------------


class SlowTables:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.value = 0
        self.go = asyncio.Event()
        self.failure: Exception | None = None

    async def load(self, keys: Collection[str]) -> Mapping[str, int]:
        self.asked.append(sorted(keys))
        value = self.value
        await self.go.wait()
        if self.failure:
            raise self.failure
        return {key: value for key in keys if key != "unknown"}


async def test_who_asks_during_a_read_gets_a_later_one_shared_with_its_equals() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    first = asyncio.create_task(reads.get("a"))
    while not tables.asked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    tables.value = 1
    later = [asyncio.create_task(reads.get(key)) for key in ("a", "a", "b", "unknown")]
    await asyncio.sleep(0)
    tables.go.set()
    assert await first == 0
    assert await asyncio.gather(*later) == [1, 1, 1, None]
    assert tables.asked == [["a"], ["a", "b", "unknown"]]


async def test_many_keys_are_read_in_some_batches_at_once_and_what_is_beyond_them_waits() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    keys = [f"{number:04d}" for number in range(BATCHES_AT_ONCE * MAX_KEYS + 1)]
    asking = asyncio.create_task(reads.get_many(keys))
    while len(tables.asked) < BATCHES_AT_ONCE:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(batch) for batch in tables.asked] == [MAX_KEYS] * BATCHES_AT_ONCE
    tables.go.set()
    assert await asking == dict.fromkeys(keys, 0)
    assert tables.asked[BATCHES_AT_ONCE:] == [keys[-1:]]


async def test_a_batch_that_is_answered_makes_room_for_the_next_whatever_the_others_wait_for() -> None:
    answers: list[asyncio.Event] = []

    async def load(keys: Collection[int]) -> Mapping[int, int]:
        answers.append(asyncio.Event())
        await answers[-1].wait()
        return {key: key for key in keys}

    asking = asyncio.create_task(Batched(load).get_many(range((BATCHES_AT_ONCE + 2) * MAX_KEYS)))
    for answered in range(2):
        while len(answers) < BATCHES_AT_ONCE + answered:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert len(answers) == BATCHES_AT_ONCE + answered
        answers[-1].set()
    while len(answers) < BATCHES_AT_ONCE + 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for answer in answers:
        answer.set()
    assert len(await asking) == (BATCHES_AT_ONCE + 2) * MAX_KEYS


async def test_who_asks_for_one_does_not_wait_for_all_of_who_asks_for_very_many() -> None:
    asked: list[int] = []

    async def load(keys: Collection[int]) -> Mapping[int, int]:
        asked.extend(keys)
        await asyncio.sleep(0.001)
        return {key: key for key in keys}

    reads = Batched(load)
    many = asyncio.create_task(reads.get_many(range(20_000)))
    while not asked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert await reads.get(-1) == -1
    assert len(asked) < 2_000
    assert len(await many) == 20_000


async def test_few_keys_that_come_during_a_read_begin_none_beside_it() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    asking = [asyncio.create_task(reads.get("first"))]
    await asyncio.sleep(0.01)
    asking += [asyncio.create_task(reads.get(f"{number}")) for number in range(MAX_KEYS - 1)]
    await asyncio.sleep(0.01)
    assert len(tables.asked) == 1
    asking.append(asyncio.create_task(reads.get("one more is a whole batch")))
    await asyncio.sleep(0.01)
    assert [len(batch) for batch in tables.asked] == [1, MAX_KEYS]
    tables.go.set()
    await asyncio.gather(*asking)
    assert len(tables.asked) == 2


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ValueError("a bug")])
async def test_a_failed_read_fails_for_all_who_waited_and_the_next_one_begins_anew(failure: Exception) -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    tables.go.set()
    tables.failure = failure
    with pytest.raises(type(failure)):
        await asyncio.wait_for(reads.get("a"), 10)
    tables.failure = None
    assert await reads.get("a") == 0


async def test_a_caller_that_gives_up_leaves_the_others_waiting() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    impatient, patient = (asyncio.create_task(reads.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    tables.go.set()
    assert await patient == 0


async def test_a_key_that_fails_fails_its_own_callers_alone() -> None:
    async def load(keys: Collection[int]) -> Mapping[int, int]:
        await asyncio.sleep(0)
        if -1 in keys:
            raise StoreUnavailable("away")
        return {key: key for key in keys}

    reads = Batched(load)
    calls = [range(2 * MAX_KEYS), [*range(MAX_KEYS), -1, 5_000], [5_001], range(MAX_KEYS, 2 * MAX_KEYS)]
    answers = await asyncio.gather(*map(reads.get_many, calls), return_exceptions=True)
    assert [list(one) if isinstance(one, dict) else repr(one) for one in answers] == [
        list(range(2 * MAX_KEYS)),
        "StoreUnavailable('away')",
        [5_001],
        list(range(MAX_KEYS, 2 * MAX_KEYS)),
    ]
    assert await reads.get_many((5_000, 5_001)) == {5_000: 5_000, 5_001: 5_001}


async def test_a_caller_of_several_batches_that_gives_up_leaves_those_that_have_begun_and_those_that_wait() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    keys = [f"{number:04d}" for number in range((BATCHES_AT_ONCE + 2) * MAX_KEYS)]
    impatient = asyncio.create_task(reads.get_many(keys[:1_000]))
    patient = [asyncio.create_task(reads.get(key)) for key in (keys[0], keys[-1])]
    while len(tables.asked) < BATCHES_AT_ONCE:  # noqa: ASYNC110
        await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    tables.go.set()
    assert await asyncio.wait_for(asyncio.gather(*patient), 10) == [0, 0]
    assert await asyncio.wait_for(reads.get("anew"), 10) == 0


# -- waiting calls ---------------------------------------------------------------------------------


async def test_the_table_of_waiting_calls_is_bounded_and_forgets_the_answered() -> None:
    waiting = PendingCalls(1)
    ticket = waiting.open("alice")
    assert (waiting.user_of(ticket.name), waiting.user_of("another")) == ("alice", None)
    with pytest.raises(Refused, match="unavailable"):
        waiting.open("alice")
    waiting.refused(ticket.name, Refused("conflict", "other content"))
    with pytest.raises(Refused, match="conflict"):
        await waiting.result(ticket)
    waiting.forget(waiting.open("alice"))
    waiting.open("alice")
