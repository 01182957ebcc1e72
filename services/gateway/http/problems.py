"""The format of all HTTP errors."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.responses import Response

from tidings.errors import Refused


def problem(refused: Refused, status: int | None = None, more_headers: Mapping[str, str] | None = None) -> Response:
    """An RFC 9457 problem with PROTOCOL's code."""
    status = status or refused.http_status
    content: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": refused.text,
        "code": refused.code,
        "retryable": refused.is_retryable,
    }
    headers = dict(more_headers or {})
    if refused.retry_after_ms is not None:
        content["retry_after_ms"] = refused.retry_after_ms
        headers["Retry-After"] = str(-(-refused.retry_after_ms // 1000))
    return Response(orjson.dumps(content), status, headers, "application/problem+json")
