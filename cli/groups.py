"""`tidings group …`: make a group, change it, and list its members."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from cli.arguments import DEFAULT_URL, AsUser, Token, Url, group_id, moment_ms, user_id
from cli.help_text import PLAIN
from cli.screen_text import day_and_time, say
from cli.signing_in import Account, Calls, asking
from tidings_client import LeftOut, Member, Placed

T = TypeVar("T", bound=Placed)

app = typer.Typer(
    help="Make groups, change them, and list their members.", no_args_is_help=True, rich_markup_mode=PLAIN
)


class Role(StrEnum):
    """The roles that `role` gives. The owner changes by `transfer` alone."""

    ADMIN = "admin"
    MEMBER = "member"


def _users(given: list[str] | None) -> list[str]:
    return [user_id(text) for text in given or []]


Group = Annotated[str, typer.Argument(metavar="GROUP", help="g:<id> as `create` printed it.", callback=group_id)]
User = Annotated[str, typer.Argument(metavar="USER", callback=user_id)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The group's name.")]
Users = Annotated[list[str], typer.Argument(metavar="USER…", callback=_users)]
NoUsers = Annotated[list[str] | None, typer.Argument(metavar="[USER…]", callback=_users)]


@app.command()
def create(user: AsUser, name: Name, members: NoUsers = None, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Make a group that you own, with these users as members, and print its id. Users left out are listed on stderr."""
    created = asyncio.run(_placed(Account(url, user, token), lambda calls: calls.groups.create(name, members or ())))
    say(created.session_id)
    for left in created.left_out:
        # Standard output holds only the id, so that a script can use it.
        say(_left_out(left), is_aside=True)


@app.command()
def add(user: AsUser, group: Group, users: Users, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Add up to 500 users, and list the users that were left out with the reason."""
    asyncio.run(_add(Account(url, user, token), group, users))


@app.command()
def remove(user: AsUser, group: Group, member: User, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Remove a member."""
    _do(Account(url, user, token), lambda calls: calls.groups.remove(group, member))


@app.command()
def leave(user: AsUser, group: Group, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Leave the group. Its owner has to transfer it first: `tidings group transfer`."""
    _do(Account(url, user, token), lambda calls: calls.groups.leave(group))


@app.command()
def transfer(user: AsUser, group: Group, member: User, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Make a member the owner. The owner before becomes an admin."""
    _do(Account(url, user, token), lambda calls: calls.groups.transfer(group, member))


@app.command()
def role(
    user: AsUser,
    group: Group,
    member: User,
    role: Annotated[Role, typer.Argument(help="The new role.")],
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Make a member an admin, or an admin a member."""
    _do(Account(url, user, token), lambda calls: calls.groups.set_role(group, member, role.value))


@app.command()
def mute(
    user: AsUser,
    group: Group,
    member: User,
    until_ms: Annotated[
        int | None,
        typer.Option(
            "--until",
            help="Its end, as ISO 8601. Without an offset it is local time.",
            metavar="TIME",
            parser=moment_ms,
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="End the mute.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Stop a member from sending until a time, or end that with --off."""
    if (until_ms is None) != off:
        raise typer.BadParameter("give one of them: --until TIME or --off")
    _do(Account(url, user, token), lambda calls: calls.groups.mute(group, member, until_ms or 0))


@app.command()
def rename(user: AsUser, group: Group, name: Name, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Give the group another name."""
    _do(Account(url, user, token), lambda calls: calls.groups.rename(group, name))


@app.command()
def dissolve(
    user: AsUser,
    group: Group,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """End the group for all of its members."""
    if not yes:
        typer.confirm(f"End {group} for all of its members?", abort=True)
    _do(Account(url, user, token), lambda calls: calls.groups.dissolve(group))


@app.command()
def members(user: AsUser, group: Group, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """List the group's members, its name and its delivery mode."""
    asyncio.run(_members(Account(url, user, token), group))


def _do(account: Account, command: Callable[[Calls], Awaitable[Placed]]) -> None:
    placed = asyncio.run(_placed(account, command))
    say(f"done  {placed.session_id} #{placed.seq}")


async def _placed(account: Account, command: Callable[[Calls], Awaitable[T]]) -> T:
    async with asking(account) as calls:
        return await command(calls)


async def _add(account: Account, group: str, users: list[str]) -> None:
    async with asking(account) as calls:
        added = await calls.groups.add(group, users)
    place = f"  {group} #{added.seq}" if added.seq is not None else ""
    say(f"{len(added.added)} added{place}")
    for left in added.left_out:
        say(_left_out(left))


def _left_out(left: LeftOut) -> str:
    return f"left out: {left.user_id} ({left.code})"


async def _members(account: Account, group: str) -> None:
    async with asking(account) as calls:
        known = await calls.groups.get(group)
        async for member in calls.groups.members(group):
            say(described(member))
    say(f"{known.name}: {known.member_count} members, delivered by {known.mode} diffusion")


def described(member: Member) -> str:
    """One line: role, user, seq of joining, and the end of the mute if there is one."""
    muted = f"  muted until {day_and_time(member.muted_until)}" if member.muted_until else ""
    return f"{member.role:<7} {member.user_id}  since #{member.joined_seq}{muted}"
