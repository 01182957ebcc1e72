"""Ids made by a wrong clock: a message goes under another id only while nothing can be stored under the first."""

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings_client import frames
from tidings_client.core import Core
from tidings_client.drafts import Draft
from tidings_client.effects import Effect, IdChanged, KeepAs, SendFrame, Status, StatusChanged
from tidings_client.ids import MessageIds, uuid7_time_ms

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
SERVER_MS = 1_764_000_000_000
SESSION = "d:alice:bob"
SKEW_MS, OLDEST_MS = 5 * MINUTE_MS, 90 * DAY_MS  # PROTOCOL, Ids


def an_id(at_ms: int) -> str:
    return MessageIds(random.Random(at_ms).getrandbits).make(at_ms)


@dataclass
class World:
    """A device whose clock is off, its outbox, and a server that judges ids by its own clock."""

    off_ms: int = 0
    now_ms: int = 1_000_000
    seed: int = 1
    stored: dict[str, str] = field(default_factory=dict)
    outbox: dict[str, Draft] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    unanswered: list[frames.Send] = field(default_factory=list)
    statuses: list[StatusChanged] = field(default_factory=list)
    changed: list[IdChanged] = field(default_factory=list)
    keeps_at_once: bool = True
    knows_server: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.ids = MessageIds(self.random.getrandbits)
        self.begin()

    def begin(self) -> None:
        self.knows_server = False
        self.kept.clear()
        self.unanswered.clear()
        self.core = Core("phone", lambda: 0.0, self.ids.make)
        self.take(self.core.start(None))

    @property
    def server_ms(self) -> int:
        return SERVER_MS + self.now_ms

    def take(self, todo: list[Effect]) -> None:
        for effect in todo:
            match effect:
                case KeepAs(was=was, draft=draft):
                    self.outbox = {
                        (draft.client_msg_id if name == was else name): (draft if name == was else kept)
                        for name, kept in self.outbox.items()
                    }
                    self.kept.append(draft.client_msg_id)
                case SendFrame(frame=frames.Send() as frame):
                    self.tried.append(frame.client_msg_id)
                    self.unanswered.append(frame)
                case StatusChanged():
                    self.statuses.append(effect)
                    if effect.status in (Status.SENT, Status.FAILED):
                        self.outbox.pop(effect.client_msg_id, None)
                case IdChanged():
                    self.changed.append(effect)
        if self.keeps_at_once:
            self.keep()

    def keep(self) -> None:
        while self.kept:
            self.take(self.core.kept(self.now_ms, self.kept.pop(0)))

    def compose(self, text: str, client_msg_id: str | None = None) -> str:
        at_ms = self.server_ms if self.knows_server else self.server_ms + self.off_ms
        made = client_msg_id or self.ids.make(at_ms)
        draft = Draft(made, "text", {"text": text}, to="bob", id_is_given=client_msg_id is not None)
        self.submit(replace(draft, is_untried=not self.knows_server))
        return made

    def submit(self, draft: Draft) -> None:
        self.outbox[draft.client_msg_id] = draft
        self.take(self.core.submit(self.now_ms, draft))

    def connect(self) -> None:
        self.knows_server = True
        self.take(self.core.connected(self.now_ms, "token", None))
        welcome = frames.Welcome(user_id="alice", device_id="phone", connection_id="1", server_time=self.server_ms)
        self.take(self.core.received(self.now_ms, welcome))

    def lose(self) -> None:
        self.unanswered.clear()
        self.take(self.core.closed(self.now_ms, 1006, ""))
        self.take(self.core.tick(self.now_ms + 40_000))

    def restart(self) -> None:
        drafts = [replace(draft, attempt=draft.attempt + 1) for draft in self.outbox.values()]
        self.begin()
        for draft in drafts:
            self.submit(draft)

    def arrive(self, *, answer: bool) -> None:
        """The first unanswered try reaches the server, whose answer may be lost."""
        if not self.unanswered:
            return
        send = self.unanswered.pop(0)
        name, made_ms = send.client_msg_id, uuid7_time_ms(send.client_msg_id)
        code = ""
        if name not in self.stored and made_ms is not None:
            code = "clock_skew" if made_ms > self.server_ms + SKEW_MS else ""
            code = "too_old" if made_ms < self.server_ms - OLDEST_MS else code
        if not code:
            self.stored.setdefault(name, str(send.body["text"]))
        if answer:
            self.give(self.answer_to(name, code))

    def answer_to(self, name: str, code: str) -> frames.ServerFrame:
        if code:
            return frames.SendError(client_msg_id=name, code=code)
        seq = list(self.stored).index(name) + 1
        return frames.SendAck(client_msg_id=name, session_id=SESSION, message_id=f"m{seq}", seq=seq, at=1)

    def give(self, frame: frames.ServerFrame) -> None:
        self.take(self.core.received(self.now_ms, frame))

    def settle(self) -> None:
        while self.unanswered:
            self.arrive(answer=True)

    @property
    def failed(self) -> list[str | None]:
        return [event.code for event in self.statuses if event.status is Status.FAILED]


OFFS = [6 * MINUTE_MS, -6 * MINUTE_MS, 30 * DAY_MS, -30 * DAY_MS, 400 * DAY_MS, -400 * DAY_MS, -SERVER_MS]


@pytest.mark.field_case("2")
@pytest.mark.parametrize("off_ms", OFFS)
def test_what_was_composed_by_a_wrong_clock_is_sent(off_ms: int) -> None:
    world = World(off_ms)
    first = [world.compose(f"{n}") for n in range(3)]
    world.connect()
    world.compose("3")
    world.settle()
    assert list(world.stored.values()) == ["0", "1", "2", "3"]
    assert not world.failed
    assert not world.outbox
    if world.changed:
        assert [change.was for change in world.changed] == first
        assert set(first).isdisjoint(world.tried)


@pytest.mark.field_case("2")
@pytest.mark.parametrize("is_untried", [True, False])
@pytest.mark.parametrize("ahead_ms", [6 * MINUTE_MS, DAY_MS])
def test_an_outbox_of_a_wrong_clock_is_sent(ahead_ms: int, is_untried: bool) -> None:
    world = World()
    drafts = [Draft(an_id(world.server_ms + ahead_ms + n), "text", {"text": f"{n}"}, to="bob") for n in range(3)]
    for draft in drafts:
        world.submit(replace(draft, attempt=2, is_untried=is_untried))
    world.connect()
    world.settle()
    assert list(world.stored.values()) == ["0", "1", "2"]
    assert not world.failed


def test_a_message_is_kept_as_tried_before_its_first_try() -> None:
    world = World(keeps_at_once=False)
    made = world.compose("x")
    world.connect()
    assert world.tried == []
    assert world.outbox[made].is_untried is False
    world.keep()
    assert world.tried == [made]
    world.restart()
    world.connect()
    assert world.tried == [made, made]


def test_nothing_overtakes_a_message_whose_id_is_kept() -> None:
    world = World(off_ms=DAY_MS, keeps_at_once=False)
    world.compose("first")
    world.connect()
    world.compose("second")
    assert world.tried == []
    assert world.core.next_tick_ms(world.now_ms) != world.now_ms
    world.keep()
    world.settle()
    assert list(world.stored.values()) == ["first", "second"]


def test_what_is_kept_after_the_welcome_is_looked_at_too() -> None:
    world = World(off_ms=DAY_MS)
    made = an_id(world.server_ms + DAY_MS)
    world.connect()
    world.submit(Draft(made, "text", {"text": "early"}, to="bob", is_untried=True))
    world.compose("late")
    assert made not in world.tried
    world.settle()
    assert list(world.stored.values()) == ["early", "late"]


@pytest.mark.parametrize("off_ms", [DAY_MS, -400 * DAY_MS])
def test_an_id_of_the_applications_own_is_never_changed(off_ms: int) -> None:
    world = World()
    made = an_id(world.server_ms + off_ms)
    world.compose("x", made)
    world.connect()
    world.settle()
    assert world.tried == [made]
    assert world.failed == ["clock_skew" if off_ms > 0 else "too_old"]


def test_an_old_id_that_may_be_stored_is_not_changed() -> None:
    world = World()
    made = an_id(world.server_ms - OLDEST_MS - 1)
    world.submit(Draft(made, "text", {"text": "x"}, to="bob", attempt=2))
    world.connect()
    world.settle()
    assert world.tried == [made]
    assert world.failed == ["too_old"]


def test_new_ids_are_bounded() -> None:
    world = World()
    world.connect()
    world.compose("x")
    for _ in range(3):
        world.give(frames.SendError(client_msg_id=world.tried[-1], code="clock_skew"))
    assert len(set(world.tried)) == 3
    assert world.failed == ["clock_skew"]
    assert len(world.changed) == 2


STEPS = st.lists(st.sampled_from(["compose", "connect", "lose", "restart", "arrive", "vanish", "wait"]), max_size=30)


@pytest.mark.field_case("2")
@settings(max_examples=300, deadline=None)
@given(off_ms=st.sampled_from([0, *OFFS]) | st.integers(-(10**11), 10**11), steps=STEPS, seed=st.integers(1, 10**6))
def test_every_message_is_stored_once_by_any_clock(off_ms: int, steps: list[str], seed: int) -> None:
    world = World(off_ms, seed=seed)
    composed = 0
    for step in steps:
        world.now_ms += 1_000
        match step:
            case "compose":
                world.compose(f"{composed}")
                composed += 1
            case "connect":
                if world.core.link != "ready":
                    world.connect()
            case "lose":
                world.lose()
            case "restart":
                world.restart()
            case "arrive" | "vanish":
                world.arrive(answer=step == "arrive")
            case "wait":
                world.take(world.core.tick(world.now_ms))
    world.restart()
    world.connect()
    world.settle()
    assert sorted(world.stored.values()) == sorted(f"{n}" for n in range(composed))
    assert not world.failed
    assert not world.outbox
