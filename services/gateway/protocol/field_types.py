"""The types of fields in requests and answers of REST, with their bounds, and what an error says of them. Pure.

A description says what a field is, so that it completes the sentence "<field> is …" in the answer to a request that
does not fit.
"""

from typing import Annotated, get_args

from msgspec import Meta

from services.gateway.protocol.limits import MAX_NUMBER
from tidings.groups import GROUP_NAME_POINTS, Who
from tidings.ids import USER_ID_TEXT

MAX_TEXT_POINTS = 8_000
MAX_SIDE = 16_384
MAX_FILE_NAME = 255
MAX_MENTIONS = 50
MAX_BATCH = 100
# PROTOCOL leaves these open; they keep a body well inside a frame.
MAX_URL = 2_048
MAX_CONTENT_TYPE = 127
MAX_CUSTOM_TYPE = 128
# A time of today in seconds is one of January 1970 in milliseconds, in microseconds one of the year 57,000. The bounds
# do not move with the clock, so that a repeat is judged as the first try was.
LEAST_TIME_MS = 100_000_000_000  # March 1973
MOST_TIME_MS = 253_402_300_799_999  # the end of 9999

TIME_TEXT = (
    "a time in milliseconds since 1970, not in seconds or parts of a millisecond, from the year 1973 to 9999; "
    "0 lifts a mute"
)

# `$` alone would let a line end pass in Python, and `\Z` is not in JSON Schema's dialect.
END = r"$(?!\n)"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9110, section 8.3.1: token "/" token, and parameters.
_PARAMETER = rf'[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"(?:[\t !#-\[\]-~]|\\[\t -~])*")'
_CONTENT_TYPE = rf"^{_TOKEN}/{_TOKEN}(?:{_PARAMETER})*{END}"
_USER_ID = rf"^(?!\.+$)[A-Za-z0-9_.@-]{{1,64}}{END}"
_GROUP_ID = rf"^g:[A-Za-z0-9_-]{{1,64}}{END}"
# That a <= b in a direct session no pattern says; `ids.is_session_id` decides.
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
        description="g:<id>, as the call that created the group answered",
        examples=["g:0f5e9d3c2b1a48679d0c1e2f3a4b5c6d"],
    ),
]
ClientMsgId = Annotated[
    str,
    Meta(
        pattern=_CLIENT_MSG_ID,
        description="a string of 1-64 printable ASCII characters, best a UUIDv7; a repeat with it is safe. "
        "It may be given as the header Idempotency-Key instead",
        # Not a UUIDv7: one that is written down here is `too_old` after 90 days.
        examples=["order-4711-confirmed"],
    ),
]
Seq = Annotated[
    int, Meta(ge=1, le=MAX_NUMBER, description="a whole number, 1 or more: a place in a session", examples=[7])
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
        description=f"a URL of at most {MAX_URL} printable characters without spaces, on a host in TIDINGS_MEDIA_HOSTS",
        examples=["https://media.example/a.png"],
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
WhoHas = Annotated[Who, Meta(description=f"{' or '.join(get_args(Who))}: the members who may do it")]
