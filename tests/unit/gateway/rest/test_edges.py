"""Edges of REST: every answer can be read by an allowed page, whatever it is, and says what to change."""

import codecs
import gzip

import pytest
from structlog.testing import capture_logs

from services.gateway.rest.edges import allow
from tests.unit.gateway.asking import APP, Answer, Pairs, asked, noting_app
from tidings.errors import HTTP_STATUS, Refused, StoreUnavailable

PAGE: Pairs = [("origin", APP)]
PREFLIGHT: Pairs = [
    ("access-control-request-method", "PUT"),
    ("access-control-request-headers", "authorization, x-own"),
]


def is_readable(answer: Answer, origin: str = APP) -> bool:
    """Whether a page of that origin may read the answer and its headers."""
    assert answer.header("vary") == "Origin"
    exposed = answer.header("access-control-expose-headers") or ""
    return answer.header("access-control-allow-origin") == origin and {"Retry-After", "Allow"} <= {*exposed.split(", ")}


@pytest.mark.field_case("36")
@pytest.mark.parametrize("code", HTTP_STATUS)
async def test_page_reads_every_refusal(code: str) -> None:
    app, noting = noting_app()
    noting.fails = Refused(code, "a text", retry_after_ms=1_200)
    answer = await asked(app, "GET", "/v1/sessions", PAGE)
    assert is_readable(answer)
    assert (answer.status, answer.problem["code"], answer.problem["retry_after_ms"]) == (HTTP_STATUS[code], code, 1_200)
    assert answer.header("retry-after") == "2"


@pytest.mark.field_case("36")
@pytest.mark.parametrize("failure", [RuntimeError("a bug"), ValueError(), KeyError("x"), RecursionError()])
async def test_page_reads_500_and_the_connection_stays_open(failure: Exception) -> None:
    """Whatever reaches uvicorn resets the connection after the answer."""
    app, noting = noting_app()
    noting.fails = failure
    with capture_logs() as logs:
        answer = await asked(app, "GET", "/v1/sessions", PAGE)
    assert [line["event"] for line in logs] == ["a call failed"]
    assert is_readable(answer)
    assert (answer.status, answer.problem["code"]) == (500, "unavailable")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/groups/..", 400),
        ("PUT", "/v1/inbox", 405),
        ("GET", "/v1/ws", 426),
        ("POST", "/v1/tokens", 403),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("OPTIONS", "/v1/blocks", 204),
        ("OPTIONS", "/v1/nothing", 404),
    ],
)
async def test_page_reads_answers_of_no_call(method: str, target: str, status: int) -> None:
    app, _ = noting_app()
    answer = await asked(app, method, target, PAGE)
    assert answer.status == status
    assert is_readable(answer)


async def test_tables_away_are_503_for_a_page() -> None:
    app, noting = noting_app()
    noting.fails = StoreUnavailable("away")
    answer = await asked(app, "GET", "/v1/sessions", PAGE)
    assert (answer.status, is_readable(answer)) == (503, True)


@pytest.mark.field_case("32")
@pytest.mark.parametrize(
    ("listed", "origin", "is_allowed"),
    [
        ("*", "https://any.example", True),
        ("https://A.example.com:443", "https://a.example.com", True),
        ("https://app.example.com/", "https://app.example.com", True),
        ("", "http://gateway.example", True),
        ("", "https://gateway.example", True),
        ("", "https://evil.example", False),
        (APP, "null", False),
        (APP, "https://app.example.evil.example", False),
        (APP, "http://app.example", False),
    ],
)
async def test_preflight_and_call_are_decided_alike(listed: str, origin: str, is_allowed: bool) -> None:
    app, _ = noting_app(listed)
    answer = await asked(app, "GET", "/v1/sessions", [("origin", origin)])
    assert answer.status == 401
    assert (answer.header("access-control-allow-origin") == origin) == is_allowed
    preflight = await asked(app, "OPTIONS", "/v1/blocks/bob", [("origin", origin), *PREFLIGHT])
    assert preflight.status == (204 if is_allowed else 403)
    assert is_allowed or preflight.problem["code"] == "origin_not_allowed"


async def test_preflight_is_complete() -> None:
    app, noting = noting_app()
    answer = await asked(app, "OPTIONS", "/v1/blocks/bob", [*PAGE, *PREFLIGHT])
    assert answer.status == 204
    assert is_readable(answer)
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= {
        *(answer.header("access-control-allow-methods") or "").split(", ")
    }
    assert answer.header("access-control-allow-headers") == "authorization, x-own"
    assert int(answer.header("access-control-max-age") or 0) > 0
    assert noting.called == []
    plain = await asked(app, "OPTIONS", "/v1/blocks/bob", [*PAGE, ("access-control-request-method", "PUT")])
    assert "Idempotency-Key" in (plain.header("access-control-allow-headers") or "")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/blocks/bob", "DELETE, OPTIONS, PUT"),
        ("/v1/blocks", "GET, HEAD, OPTIONS"),
        ("/v1/groups/g:x", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/v1/groups/g:x/members", "GET, HEAD, OPTIONS, POST"),
        ("/v1/messages:batch", "OPTIONS, POST"),
    ],
)
async def test_allow_names_all_methods_of_a_path(path: str, methods: str) -> None:
    app, _ = noting_app()
    answer = await asked(app, "TRACE", path)
    assert (answer.status, answer.header("allow"), answer.problem["code"]) == (405, methods, "invalid_frame")
    assert (await asked(app, "OPTIONS", path)).header("allow") == methods == allow({*methods.split(", ")})


async def test_head_is_get_without_a_body() -> None:
    app, noting = noting_app()
    assert (await asked(app, "HEAD", "/v1/sessions")).status == 401
    assert noting.called == [("GET", "/v1/sessions", {})]
    assert (await asked(app, "HEAD", "/v1/messages")).status == 405


@pytest.mark.field_case("31")
async def test_socket_path_without_upgrade_names_the_proxy() -> None:
    app, _ = noting_app()
    for method, headers in (("GET", []), ("POST", []), ("GET", [("content-length", "0")])):
        answer = await asked(app, method, "/v1/ws?x=y", headers)
        assert (answer.status, answer.header("upgrade"), answer.header("connection")) == (426, "websocket", "Upgrade")
        assert "proxy" in answer.problem["detail"]
    answer = await asked(app, "POST", "/v1/ws", [("upgrade", "websocket")])
    assert (answer.status, "a handshake is a GET" in answer.problem["detail"]) == (426, True)


@pytest.mark.field_case("31")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("upgrade", [[], [("upgrade", "websocket")]])
@pytest.mark.parametrize("body", [("content-length", "5"), ("content-length", "05"), ("transfer-encoding", "chunked")])
async def test_socket_path_with_a_body_is_400(method: str, upgrade: Pairs, body: tuple[str, str]) -> None:
    app, _ = noting_app()
    answer = await asked(app, method, "/v1/ws", [*PAGE, *upgrade, body])
    assert (answer.status, answer.problem["code"]) == (400, "invalid_frame")
    assert "without a body" in answer.problem["detail"]
    assert is_readable(answer)


@pytest.mark.field_case("36")
@pytest.mark.parametrize(
    ("headers", "body", "status", "says"),
    [
        ([], codecs.BOM_UTF8 + b"{}", 400, "user_id is"),
        ([], "{}".encode("utf-16"), 400, "UTF-16"),
        ([], gzip.compress(b"{}"), 400, "gzip"),
        ([], b"\xff{}", 400, "not UTF-8"),
        ([("content-encoding", "gzip")], gzip.compress(b"{}"), 415, "gzip"),
        ([("content-encoding", "identity, br")], b"{}", 415, "br"),
        ([("content-encoding", "identity")], b"{}", 400, "user_id is"),
        ([("content-type", "application/json; charset=utf-16")], b"{}", 415, "utf-16"),
        ([("content-type", "application/json;Charset='ISO-8859-1'")], b"{}", 415, "ISO-8859-1"),
        ([("content-type", 'application/json; charset="UTF-8"')], b"{}", 400, "user_id is"),
        ([("content-type", "text/plain")], b"{}", 400, "user_id is"),
    ],
)
async def test_encodings_are_taken_or_named(headers: Pairs, body: bytes, status: int, says: str) -> None:
    app, _ = noting_app(signing=b"any")
    answer = await asked(app, "POST", "/v1/tokens", [*PAGE, *headers], body)
    assert (answer.status, is_readable(answer)) == (status, True)
    assert says in answer.problem["detail"]
