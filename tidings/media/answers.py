"""The errors of obstore, as the port raises them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from tidings.errors import MediaMissing, MediaUnavailable
from tidings.one_line import one_line

_SHOWN_CHARACTERS = 400
_PARAMETERS = re.compile(r"\?\S*")
# S3's and the local folder's answer to a range that begins at or after the end of the object.
_OUTSIDE = ("416 Range Not Satisfiable", "Requested range was invalid")


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn every error of obstore into MediaUnavailable, with what was asked for in its text."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise unavailable(what, error) from error


def unavailable(what: str, error: Exception) -> MediaUnavailable:
    """The first part of obstore's text, without the parameters of URLs. The second repeats it as a structure."""
    text = str(error).partition("\n\nDebug source")[0]
    reason = one_line(_PARAMETERS.sub("", text)).strip()[:_SHOWN_CHARACTERS]
    return MediaUnavailable(f"the object store did not answer as it should ({what}): {reason}")


def is_outside(error: BaseError) -> bool:
    """Whether the range begins at or after the end of the object."""
    return any(text in str(error) for text in _OUTSIDE)


def missing(key: str, end: int, size: int | None = None) -> MediaMissing:
    """The object is not there or ends before `end`."""
    if size is None:
        return MediaMissing(f"there is no object {key}, or it has no bytes up to {end:,}")
    return MediaMissing(f"{key} has {size:,} bytes, and bytes up to {end:,} were asked for")
