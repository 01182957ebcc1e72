"""The types of fields in REST requests and answers, with their bounds and error texts. Pure.

A description completes the sentence "<field> is …", which the gateway answers to an invalid request.
"""

from typing import Annotated, get_args

from msgspec import Meta

from services.gateway.protocol.limits import MAX_NUMBER, MAX_SIDE
from tidings.groups import GROUP_NAME_POINTS, Who
from tidings.ids import USER_ID_TEXT

MAX_TEXT_POINTS = 8_000
MAX_FILE_NAME = 255
MAX_MENTIONS = 50
MAX_BATCH = 100
# PROTOCOL does not fix these. They keep a body well below the size of a frame.
MAX_URL = 2_048
MAX_CONTENT_TYPE = 127
MAX_CUSTOM_TYPE = 128
# A current time in seconds, read as milliseconds, is in January 1970. In microseconds it is in the year 57,000. The
# bounds are fixed, so that a repeat gets the same answer as the first try.
LEAST_TIME_MS = 100_000_000_000  # March 1973
MOST_TIME_MS = 253_402_300_799_999  # the end of 9999

TIME_TEXT = (
    "a time in milliseconds since 1970, not in seconds or parts of a millisecond, from the year 1973 to 9999; "
    "0 lifts a mute"
)

# `$` alone would accept a line end in Python, and JSON Schema has no `\Z`.
END = r"$(?!\n)"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9110, section 8.3.1: token "/" token, and parameters.
_PARAMETER = rf'[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"(?:[\t !#-\[\]-~]|\\[\t -~])*")'
_CONTENT_TYPE = rf"^{_TOKEN}/{_TOKEN}(?:{_PARAMETER})*{END}"
_USER_ID = rf"^(?!\.+$)[A-Za-z0-9_.@-]{{1,64}}{END}"
_GROUP_ID = rf"^g:[A-Za-z0-9_-]{{1,64}}{END}"
# A pattern cannot express that a <= b in a direct session, so `ids.is_session_id` checks it.
_SESSION_ID = rf"^(?:g:[A-Za-z0-9_-]{{1,64}}|d:[A-Za-z0-9_.@-]{{1,64}}:[A-Za-z0-9_.@-]{{1,64}}){END}"
_CLIENT_MSG_ID = rf"^[ -~]{{1,64}}{END}"

UserId = Annotated[str, Meta(pattern=_USER_ID, description=f"a user id of {USER_ID_TEXT}", examples=["bob"])]
SessionId = Annotated[
    str,
    Meta(
        pattern=_SESSION_ID,
        description="d:<a>:<b> with a <= b in byte order, or g:<id>",
        examples=["d:alice:bob"],
    ),
]
GroupId = Annotated[
    str,
    Meta(
        pattern=_GROUP_ID,
        description="g:<id>, from the answer of the call that created the group",
        examples=["g:0f5e9d3c2b1a48679d0c1e2f3a4b5c6d"],
    ),
]
ClientMsgId = Annotated[
    str,
    Meta(
        pattern=_CLIENT_MSG_ID,
        description="a string of 1-64 printable ASCII characters, best a UUIDv7; a repeat with it is safe. "
        "It may be given as the header Idempotency-Key instead",
        # Not a UUIDv7, because a fixed one is `too_old` after 90 days.
        examples=["order-4711-confirmed"],
    ),
]
MediaId = Annotated[
    str,
    Meta(
        pattern=rf"^[0-9a-f]{{32}}{END}",
        description="the id in the url of an upload",
        examples=["0f5e9d3c2b1a48679d0c1e2f3a4b5c6d"],
    ),
]
Seq = Annotated[
    int,
    Meta(ge=1, le=MAX_NUMBER, description=f"a whole number from 1 to {MAX_NUMBER}: a place in a session", examples=[7]),
]
GroupName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=GROUP_NAME_POINTS,
        description=f"a string of 1-{GROUP_NAME_POINTS} characters, at least one of them visible",
        examples=["Team"],
    ),
]
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_URL,
        description=f"a URL of at most {MAX_URL} printable characters without spaces: of an upload, or on a host in "
        "TIDINGS_MEDIA_HOSTS",
        examples=["/v1/media/0f5e9d3c2b1a48679d0c1e2f3a4b5c6d"],
    ),
]
Side = Annotated[int, Meta(ge=1, le=MAX_SIDE, description=f"a whole number of pixels, 1 to {MAX_SIDE}", examples=[640])]
Size = Annotated[int, Meta(ge=0, le=MAX_NUMBER, description="a whole number of bytes", examples=[1024])]
ContentType = Annotated[
    str,
    Meta(
        max_length=MAX_CONTENT_TYPE,
        pattern=_CONTENT_TYPE,
        description=f"a media type of at most {MAX_CONTENT_TYPE} characters, such as image/png",
        examples=["image/png"],
    ),
]
WhoHas = Annotated[Who, Meta(description=f"{' or '.join(get_args(Who))}: the members that have the right")]
