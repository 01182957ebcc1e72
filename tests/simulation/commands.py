"""What users do: mostly what they may, sometimes what they may not. Drawn from the state that the oracle has read."""

import hashlib
import random

from tests.simulation.oracle import Oracle, Session
from tests.simulation.world import World
from tests.unit.persister.builders import uuid7
from tidings import ids
from tidings.codec import RULES, post_digest
from tidings.wire.common_pb2 import KIND_TEXT, Stamps
from tidings.wire.inbound_pb2 import (
    AddMembers,
    ChangeGroup,
    ChangeMember,
    Command,
    CreateGroup,
    DissolveGroup,
    GroupSettings,
    Post,
    RemoveMember,
    TransferGroup,
)

USERS = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal")
DIRECT = ("d:ada:bob", "d:bob:cyd", "d:cyd:cyd", "d:ada:eve")
_GROUPS = 2
_GROUP_MEMBERS_MAX = 7
# Group commands by how often: members come and go, so that modes switch.
_ACTIONS = {
    "add": 34,
    "remove": 24,
    "leave": 10,
    "role": 8,
    "mute": 7,
    "transfer": 5,
    "settings": 7,
    "dissolve": 1,
}


class Commands:
    """Makes them."""

    def __init__(self, world: World, oracle: Oracle) -> None:
        self._world, self._oracle = world, oracle
        self.chance: random.Random = world.chance
        self.groups: list[str] = []
        self._number = 0
        self._write_diffusion_max = self.chance.choice((2, 3, 4))

    def deploy(self) -> None:
        """Gateways with another setting."""
        self._write_diffusion_max = self.chance.choice((2, 3, 4, 5))

    def session(self, user_id: str) -> str:
        """One that the user is in, mostly."""
        known = [*DIRECT, *self.groups]
        mine = [name for name in known if user_id in self._people(name)]
        groups = [name for name in mine if ids.is_group_session(name)]
        if groups and self.chance.random() < 0.7:
            return self.chance.choice(groups)
        return self.chance.choice(mine if mine and self.chance.random() < 0.95 else known)

    def _people(self, session_id: str) -> tuple[str, ...]:
        return ids.direct_users(session_id) or tuple(self._oracle.session(session_id).members)

    def post(self, user_id: str) -> Command:
        """A text."""
        session_id = self.session(user_id)
        command = self._command(user_id, session_id)
        head = self._oracle.session(session_id).seq
        reply_to = self.chance.choice((0, 0, 0, 1, head, head + 2))
        post = Post(kind=KIND_TEXT, body=f'{{"text":"{self._number}"}}'.encode(), reply_to=reply_to)
        command.post.CopyFrom(post)
        command.digest = post_digest(post)
        return command

    def groups_in_use(self) -> list[str]:
        """Those with members whose owner may speak."""
        sessions = [self._oracle.session(name) for name in self.groups]
        return [one.session_id for one in sessions if one.members and not one.members[one.owner].muted_until]

    def post_to(self, user_id: str, session_id: str) -> Command:
        """A text of nothing else."""
        command = self._command(user_id, session_id, has_plain_id=True)
        command.post.CopyFrom(Post(kind=KIND_TEXT, body=f'{{"text":"{self._number}"}}'.encode()))
        return _with_digest(command)

    def change_of_members(self, session_id: str) -> list[Command]:
        """The owner removes one and adds another, or the same again."""
        session = self._oracle.session(session_id)
        others = sorted(session.members.keys() - {session.owner})
        leaving = self.chance.choice(others) if others else ""
        outside = sorted(set(USERS) - session.members.keys() | {leaving} - {""})
        removes, adds = (self._command(session.owner, session_id, has_plain_id=True) for _ in range(2))
        removes.remove_member.CopyFrom(RemoveMember(user_id=leaving))
        adds.add_members.CopyFrom(AddMembers(user_ids=[self.chance.choice(outside)]))
        return [_with_digest(command) for command in ([removes, adds] if leaving else [adds])]

    def other_content(self, command: Command) -> Command:
        """Another content under the same id (`conflict`)."""
        other = Command.FromString(command.SerializeToString())
        if other.HasField("post"):
            other.post.body = b'{"text":"something else"}'
        return _with_digest(other)

    def create(self, user_id: str) -> Command:
        """A group, made once however often it is asked for."""
        command = self._command(user_id, "g:x")
        digest = hashlib.blake2b(f"{user_id} {command.client_msg_id}".encode(), key=b"simulated", digest_size=16)
        command.session_id = f"g:{digest.hexdigest()}"
        others = self.chance.sample(USERS, k=self.chance.randint(1, 6))
        blocking = self.chance.sample(others, k=1) if self.chance.random() < 0.2 else []
        asked = CreateGroup(name="friends", member_ids=others, settings=self._settings(), blocking_ids=blocking)
        command.create_group.CopyFrom(asked)
        self.groups.append(command.session_id)
        return _with_digest(command)

    @property
    def wants_group(self) -> bool:
        """Few groups, so that much happens in each; one that was dissolved is followed by another."""
        alive = [name for name in self.groups if self._oracle.session(name).members]
        return len(alive) < _GROUPS and len(self.groups) < 2 * _GROUPS

    def administration(self, user_id: str) -> Command:
        """A command to a group."""
        session_id = self.chance.choice(self.groups)
        session = self._oracle.session(session_id)
        command = self._command(self._actor(session, user_id), session_id)
        if command.sender_id != user_id:
            command.sender_id = user_id if self.chance.random() < 0.2 else command.sender_id
        action = self.chance.choices(list(_ACTIONS), list(_ACTIONS.values()))[0]
        getattr(self, f"_{action}")(command, session)
        return _with_digest(command)

    def _actor(self, session: Session, user_id: str) -> str:
        """The user, or whoever may do more."""
        able = [name for name, member in session.members.items() if member.role != "member"]
        return self.chance.choice(able) if able else user_id

    def _other(self, session: Session, *, is_member: bool) -> str:
        some = [user for user in USERS if (user in session.members) == is_member]
        return self.chance.choice(some if some and self.chance.random() < 0.9 else USERS)

    def _add(self, command: Command, session: Session) -> None:
        users = [self._other(session, is_member=False) for _ in range(self.chance.choice((1, 1, 2, 3)))]
        blocking = self.chance.sample(users, k=1) if self.chance.random() < 0.1 else []
        command.add_members.CopyFrom(AddMembers(user_ids=users, blocking_ids=blocking))

    def _remove(self, command: Command, session: Session) -> None:
        command.remove_member.CopyFrom(RemoveMember(user_id=self._other(session, is_member=True)))

    def _leave(self, command: Command, session: Session) -> None:
        command.sender_id = self._other(session, is_member=True)
        command.remove_member.CopyFrom(RemoveMember(user_id=command.sender_id))

    def _role(self, command: Command, session: Session) -> None:
        role = self.chance.choice(("admin", "member"))
        command.change_member.CopyFrom(ChangeMember(user_id=self._other(session, is_member=True), role=role))

    def _mute(self, command: Command, session: Session) -> None:
        until_ms = self.chance.choice((0, self._world.clock.wall_ms() + 30_000))
        user_id = self._other(session, is_member=True)
        command.change_member.CopyFrom(ChangeMember(user_id=user_id, muted_until_ms=until_ms))

    def _transfer(self, command: Command, session: Session) -> None:
        command.sender_id = session.owner or command.sender_id
        command.transfer_group.CopyFrom(TransferGroup(user_id=self._other(session, is_member=True)))

    def _settings(self, command: Command | None = None, session: Session | None = None) -> GroupSettings:
        settings = GroupSettings()
        if self.chance.random() < 0.2:
            settings.share_history = self.chance.random() < 0.5
        if self.chance.random() < 0.2:
            settings.who_can_send = self.chance.choice(("all", "admins"))
        if self.chance.random() < 0.2:
            settings.who_can_add = self.chance.choice(("all", "admins"))
        if command is not None:
            command.change_group.CopyFrom(ChangeGroup(name="others", settings=settings))
        return settings

    def _dissolve(self, command: Command, session: Session) -> None:
        command.sender_id = session.owner or command.sender_id
        command.dissolve_group.CopyFrom(DissolveGroup())

    def _command(self, sender_id: str, session_id: str, *, has_plain_id: bool = False) -> Command:
        self._number += 1
        drift_ms = self.chance.choice((0, 0, 0, 0, -60_000, 290_000, 310_000))
        time_ms = self._world.clock.wall_ms() + drift_ms
        is_uuid = self.chance.random() < 0.7 and not has_plain_id
        return Command(
            stamps=self._stamps(),
            session_id=session_id,
            sender_id=sender_id,
            client_msg_id=uuid7(time_ms, self._number) if is_uuid else f"id{self._number}",
        )

    def _stamps(self) -> Stamps:
        return Stamps(
            rules=RULES,
            segment_messages=self.chance.choice((3, 7, 10_000)),
            bucket_rows=self.chance.choice((3, 7, 5_000)),
            recipients_per_part=self.chance.choice((1, 2, 1_000)),
            write_diffusion_max=self._write_diffusion_max,
            month_shards=16,
            group_members_max=_GROUP_MEMBERS_MAX,
        )


def _with_digest(command: Command) -> Command:
    """SHA-256 of what the command says."""
    if command.HasField("post"):
        command.digest = post_digest(command.post)
        return command
    name = command.WhichOneof("action") or ""
    command.digest = hashlib.sha256(name.encode() + getattr(command, name).SerializeToString()).digest()
    return command
