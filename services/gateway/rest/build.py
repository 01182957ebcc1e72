"""Builds the REST application of one gateway."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from services.gateway.media.build import Media
from services.gateway.protocol.bodies import BodyRules
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.reads.build import Reads
from services.gateway.rest.app import NO_ORIGINS, rest_app
from services.gateway.rest.authenticator import Authenticator
from services.gateway.rest.blocks import BlockCalls
from services.gateway.rest.edges import App
from services.gateway.rest.groups import GroupCalls
from services.gateway.rest.media import MediaCalls
from services.gateway.rest.messages import MessageCalls
from services.gateway.rest.routes import RestCalls
from services.gateway.rest.sessions import SessionCalls
from services.gateway.rest.tokens import TokenCalls
from services.gateway.submit.build import Submit
from tidings.clock import Clock


@dataclass(frozen=True, slots=True)
class RestRules:
    """A deployment's settings for REST calls.

    `verify` takes a token and the wall time in ms. `signing` is the key of development mode, otherwise None.
    `deployment`: the life of the tables, as PROTOCOL shows it.
    """

    verify: Callable[[str, int], Identity]
    signing: bytes | None
    audience: str
    group_key: bytes
    deployment: Mapping[str, object]
    bodies: BodyRules = field(default_factory=BodyRules)


def build_rest(
    reads: Reads, submit: Submit, media: Media, clock: Clock, rules: RestRules, origins: AllowedOrigins = NO_ORIGINS
) -> App:
    """The ASGI application for scopes of type http."""
    return rest_app(build_calls(reads, submit, media, clock, rules), origins)


def build_calls(reads: Reads, submit: Submit, media: Media, clock: Clock, rules: RestRules) -> RestCalls:
    """All calls, without the application that routes to them."""
    authenticator = Authenticator(rules.verify, clock)
    return RestCalls(
        tokens=TokenCalls(rules.signing, rules.audience, clock),
        messages=MessageCalls(authenticator, submit.calls, reads.inbox, rules.bodies, rules.deployment, clock),
        sessions=SessionCalls(
            authenticator,
            reads.memberships,
            reads.sessions,
            reads.session_lists,
            reads.receipts,
            submit.read_marks,
        ),
        groups=GroupCalls(authenticator, submit.calls, reads.memberships, reads.groups, rules.group_key, clock),
        blocks=BlockCalls(authenticator, reads.block_lists),
        media=MediaCalls(authenticator, reads.media, media),
    )
