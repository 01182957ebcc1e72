"""The request bodies of REST calls: one model per request, for the check and the OpenAPI document. Pure.

Checks that a schema cannot express are in `__post_init__` of the model.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from services.gateway.protocol.field_types import (
    END,
    LEAST_TIME_MS,
    MAX_BATCH,
    MAX_CUSTOM_TYPE,
    MAX_FILE_NAME,
    MAX_MENTIONS,
    MAX_TEXT_POINTS,
    MOST_TIME_MS,
    TIME_TEXT,
    ClientMsgId,
    ContentType,
    GroupName,
    Seq,
    SessionId,
    Side,
    Size,
    Url,
    UserId,
    WhoHas,
)
from services.gateway.protocol.frames import is_given, whole
from services.gateway.protocol.media_urls import is_upload
from tidings.errors import Refused
from tidings.groups import COMMAND_USERS, GivenRole
from tidings.names import name_fault

_MISSING = re.compile(r"Object missing required field `(\w+)")
_ANY_BODY = {
    "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("TextBody", "ImageBody", "FileBody", "CustomBody")]
}


# -- bodies of messages ----------------------------------------------------------------------------


class TextBody(Struct, frozen=True):
    """A body of the kind text: at most 24 KiB of UTF-8."""

    text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_TEXT_POINTS,
            description=f"a string of 1-{MAX_TEXT_POINTS} code points",
            examples=["hello"],
        ),
    ]


class ImageBody(Struct, frozen=True):
    """A body of the kind image. Only `url` is required if it is an upload; the gateway adds the rest."""

    url: Url
    thumb_url: Url | UnsetType = UNSET
    width: Side | UnsetType = UNSET
    height: Side | UnsetType = UNSET
    size: Size | UnsetType = UNSET
    content_type: ContentType | UnsetType = UNSET


class FileBody(Struct, frozen=True):
    """A body of the kind file. Only `url` is required if it is an upload; the gateway adds the rest."""

    url: Url
    name: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_FILE_NAME,
                description=f"a string of 1-{MAX_FILE_NAME} characters without path separators",
                examples=["report.pdf"],
            ),
        ]
        | UnsetType
    ) = UNSET
    size: Size | UnsetType = UNSET
    content_type: ContentType | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Check that the name is valid and is that of a file."""
        if self.name is not UNSET:
            check_file_name(self.name)


class CustomBody(Struct, frozen=True):
    """A body of the kind custom: at most 8 KiB of JSON."""

    type: Annotated[
        str,
        Meta(
            max_length=MAX_CUSTOM_TYPE,
            pattern=rf"^[!-~]+{END}",
            description=f"1-{MAX_CUSTOM_TYPE} characters of visible ASCII, without spaces",
            examples=["poll"],
        ),
    ]
    data: Annotated[Any, Meta(description="any JSON value, null too", examples=[{"question": "Lunch?"}])]


# -- messages --------------------------------------------------------------------------------------


class MessageRequest(Struct, frozen=True):
    """A message. Give `session_id` or `to`. The rules are those of the frame `send`."""

    kind: Annotated[Literal["text", "image", "file", "custom"], Meta(description="what the body is", examples=["text"])]
    body: Annotated[
        dict[str, Any],
        Meta(description="what the kind asks for", examples=[{"text": "hello"}], extra_json_schema=_ANY_BODY),
    ]
    client_msg_id: ClientMsgId | UnsetType = UNSET
    session_id: SessionId | UnsetType = UNSET
    to: UserId | UnsetType = UNSET
    reply_to: Seq | UnsetType = UNSET
    mentions: (
        Annotated[list[UserId], Meta(max_length=MAX_MENTIONS, description=f"at most {MAX_MENTIONS} user ids")]
        | UnsetType
    ) = UNSET
    attempt: Annotated[int, Meta(ge=1, description="the number of this try, for operators")] | UnsetType = UNSET


class BatchRequest(Struct, frozen=True):
    """Messages in their order. Each needs a `client_msg_id` of its own."""

    messages: Annotated[
        list[MessageRequest],
        Meta(min_length=1, max_length=MAX_BATCH, description=f"a list of 1-{MAX_BATCH} messages"),
    ]


# -- tokens and sessions ---------------------------------------------------------------------------


class TokenRequest(Struct, frozen=True):
    """A token for a user, in development mode."""

    user_id: UserId
    ttl_s: (
        Annotated[int, Meta(ge=1, description="a whole number of seconds, 1 or more; 30 days at most", examples=[3600])]
        | UnsetType
    ) = UNSET


class ReadRequest(Struct, frozen=True):
    """The seq up to which the caller has read."""

    seq: Seq


# -- groups ----------------------------------------------------------------------------------------


class SettingsRequest(Struct, frozen=True):
    """Settings of a group. Absent settings stay as they are."""

    share_history: (
        Annotated[bool, Meta(description="true or false: members read messages from before they joined")] | UnsetType
    ) = UNSET
    who_can_send: WhoHas | UnsetType = UNSET
    who_can_add: WhoHas | UnsetType = UNSET


_Settings = Annotated[
    SettingsRequest, Meta(description="an object with share_history, who_can_send, who_can_add, or some of them")
]


class CreateGroupRequest(Struct, frozen=True):
    """A new group. The caller is owner and member without being named."""

    name: GroupName
    members: Annotated[
        list[UserId],
        Meta(description=f"a list of at most {COMMAND_USERS} different user ids", examples=[["bob", "carol"]]),
    ] = []
    settings: _Settings | UnsetType = UNSET
    client_msg_id: ClientMsgId | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Check the name and the number of members."""
        _check_name(self.name)
        _check_users(self.members, "members", least=0)


class ChangeGroupRequest(Struct, frozen=True):
    """A new name, new settings, or both."""

    name: GroupName | UnsetType = UNSET
    settings: _Settings | UnsetType = UNSET
    client_msg_id: ClientMsgId | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Check the name, and that the request changes something."""
        _check_name(self.name)
        if self.name is UNSET and not given(self.settings):
            raise ValueError("nothing to change: give name, or settings with at least one of them")


class AddMembersRequest(Struct, frozen=True):
    """Users to add. A user may be named twice."""

    user_ids: Annotated[list[UserId], Meta(min_length=1, description=f"a list of 1-{COMMAND_USERS} different user ids")]
    client_msg_id: ClientMsgId | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Check the number of users."""
        _check_users(self.user_ids, "user_ids", least=1)


class ChangeMemberRequest(Struct, frozen=True):
    """A new role, a mute until a time, or both."""

    role: (
        Annotated[
            GivenRole,
            Meta(description=f"{' or '.join(get_args(GivenRole))}; the role owner is given by POST …/transfer"),
        ]
        | UnsetType
    ) = UNSET
    muted_until: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=MOST_TIME_MS,
                description=TIME_TEXT,
                examples=[1_790_000_000_000],
            ),
        ]
        | UnsetType
    ) = UNSET
    client_msg_id: ClientMsgId | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Refuse times before 1973, which are mistakes, and requests that change nothing."""
        if self.role is UNSET and self.muted_until is UNSET:
            raise ValueError("nothing to change: give role, muted_until, or both")
        if self.muted_until is not UNSET and 0 < self.muted_until < LEAST_TIME_MS:
            raise ValueError(f"muted_until is {TIME_TEXT}")


class TransferRequest(Struct, frozen=True):
    """The new owner, a member of the group."""

    user_id: UserId
    client_msg_id: ClientMsgId | UnsetType = UNSET


def check_file_name(name: str) -> None:
    """Check what a schema cannot express: the rule of names, and no path. Raises ValueError."""
    _check_name(name)
    if "/" in name or "\\" in name or name.strip() in (".", ".."):
        raise ValueError("name is that of a file, without path separators")


def _check_name(name: str | UnsetType) -> None:
    if name is not UNSET and (fault := name_fault(name)) is not None:
        raise ValueError(f"name: {fault}")


def check_given(body: ImageBody | FileBody, names: Sequence[str]) -> None:
    """Raises Refused if the gateway cannot add what is missing, because the URL is none of its uploads."""
    if is_upload(body.url):
        return
    for name in names:
        if getattr(body, name) is UNSET:
            raise Refused("invalid_body", f"{name} is missing; it is {_descriptions(type(body))[name]}")


def _check_users(user_ids: list[str], name: str, least: int) -> None:
    if not least <= len(set(user_ids)) <= COMMAND_USERS:
        raise ValueError(f"{name} is a list of {least}-{COMMAND_USERS} user ids; add more in another call")


# -- reading ---------------------------------------------------------------------------------------

_M = TypeVar("_M", bound=Struct)
_V = TypeVar("_V")


def read(model: type[_M], body: Mapping[str, object], code: str = "invalid_frame") -> _M:
    """The fields of a body as a model. Raises Refused with `code` and a text that says what the field should be.

    Null and empty count as absent, and 5.0 is 5 (PROTOCOL), except for a field that may be any JSON.
    """
    fields: dict[str, object] = {}
    for name, is_free in _names(model):
        if is_free:
            fields.update({name: body[name]} if name in body else {})
        elif is_given(value := body.get(name)):
            fields[name] = _by_value(value)
    try:
        return msgspec.convert(fields, model)
    except msgspec.ValidationError as error:
        raise Refused(code, _reason(model, str(error))) from None


def or_none(value: _V | UnsetType) -> _V | None:
    """The value of a field; None if it is absent."""
    return None if value is UNSET else value


def given(settings: SettingsRequest | UnsetType) -> dict[str, object]:
    """The settings of a request, without absent ones."""
    fields: dict[str, object] = {} if settings is UNSET else msgspec.to_builtins(settings)
    return fields


def _by_value(value: object) -> object:
    if isinstance(value, dict):
        return {name: _by_value(field) for name, field in value.items() if is_given(field)}
    number = whole(value)
    return value if number is None else number


@cache
def _names(model: type[Struct]) -> tuple[tuple[str, bool], ...]:
    """The fields of a model, each with a flag: True if it may be any JSON."""
    return tuple((field.name, Any in get_args(field.type)[:1]) for field in msgspec.structs.fields(model))


def _reason(model: type[Struct], found: str) -> str:
    """The text for a client, from the error of msgspec. Texts of a model's own checks are shown unchanged."""
    what, _, place = found.removesuffix("`").partition(" - at `$.")
    described = _descriptions(model)
    if missing := _MISSING.fullmatch(what.removesuffix("`")):
        path = f"{place}.{missing[1]}" if place else missing[1]
        return f"{path} is missing; it is {described[path]}"
    path, is_item, _ = place.partition("[")
    if is_item and f"{path}[]" in described:
        return f"each of {path} is {described[f'{path}[]']}"
    return f"{path} is {described[path]}" if path in described else what


@cache
def _descriptions(model: type[Struct]) -> dict[str, str]:
    """The description of each field by its path, such as `settings.who_can_send`. `members[]` are items of members."""
    components = msgspec.json.schema_components([model], ref_template="{name}")[1]

    def described(name: str, prefix: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for field, schema in components[name]["properties"].items():
            found[prefix + field] = schema.get("description", "required")
            if "description" in schema.get("items", ()):
                found[f"{prefix}{field}[]"] = schema["items"]["description"]
            reference = schema.get("$ref") or next((one["$ref"] for one in schema.get("allOf", ())), "")
            if reference in components:
                found.update(described(reference, f"{prefix}{field}."))
        return found

    return described(model.__name__, "")
