"""Operator calls of the admin port, and the tokens that allow them."""

import asyncio
import contextlib
from pathlib import Path

import httpx2
import pytest
from structlog.testing import capture_logs

from tidings.runtime.admin_calls import Access, AdminAnswer, AdminCalls, AdminRequest, OperatorTokens
from tidings.runtime.health import Health, serve_admin

TOKEN, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "operator.token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.mark.parametrize(
    ("authorization", "access"),
    [
        (f"Bearer {TOKEN}", Access.GRANTED),
        (f"bearer  {TOKEN} ", Access.GRANTED),
        ("", Access.DENIED),
        (TOKEN, Access.DENIED),
        ("Bearer ", Access.DENIED),
        (f"Bearer {TOKEN[:-1]}", Access.DENIED),
        (f"Bearer {TOKEN}0", Access.DENIED),
        (f"Bearer {OTHER}", Access.DENIED),
        (f"Basic {TOKEN}", Access.DENIED),
        (f"Bezier {TOKEN}", Access.DENIED),  # as long as the right scheme
        ("Bearer \xff\xfe", Access.DENIED),
    ],
)
async def test_only_the_token_of_the_file_is_accepted(file: Path, authorization: str, access: Access) -> None:
    assert await OperatorTokens(str(file)).access(authorization) is access


def test_tokens_are_rotated_by_the_file(file: Path) -> None:
    tokens = OperatorTokens(str(file))

    def access(token: str) -> Access:
        return asyncio.run(tokens.access(f"Bearer {token}"))

    file.write_text(f"{TOKEN}\n\n{OTHER}")
    assert (access(TOKEN), access(OTHER)) == (Access.GRANTED, Access.GRANTED)
    file.write_text(OTHER)
    assert (access(TOKEN), access(OTHER)) == (Access.DENIED, Access.GRANTED)
    file.unlink()
    assert access(OTHER) is Access.OFF


@pytest.mark.parametrize("content", [b"", b"\n\n", b"short", b"a" * 64, b"\xff" * 64])
def test_a_file_without_a_strong_token_allows_nothing(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    tokens = OperatorTokens(str(file))
    with capture_logs() as logs:
        for given in ("", "Bearer ", f"Bearer {TOKEN}", "Bearer short", f"Bearer {'a' * 64}"):
            assert asyncio.run(tokens.access(given)) is Access.DENIED
    assert {log["log_level"] for log in logs} == {"error"}


async def test_without_a_file_there_are_no_operator_calls(tmp_path: Path) -> None:
    assert await OperatorTokens("").access(f"Bearer {TOKEN}") is Access.OFF
    assert await OperatorTokens(str(tmp_path / "none")).access(f"Bearer {TOKEN}") is Access.OFF
    assert await OperatorTokens(str(tmp_path)).access(f"Bearer {TOKEN}") is Access.DENIED


async def answer(request: AdminRequest) -> AdminAnswer:
    return AdminAnswer.json(418, {"query": request.query, "sent": request.authorization}, ("x-a", "b"))


async def test_the_admin_port_serves_calls_while_they_are_there() -> None:
    health = Health()
    async with serve_admin("127.0.0.1", 0, health) as port, httpx2.AsyncClient(timeout=30) as http:
        url = f"http://127.0.0.1:{port}/admin/v1/x"
        assert (await http.get(url)).status_code == 404
        with health.calls.serving("/admin/v1/x", answer):
            found = await http.get(url, params={"a": "b c"}, headers={"Authorization": "Bearer t"})
            assert (found.status_code, found.json()) == (418, {"query": "a=b+c", "sent": "Bearer t"})
            assert (found.headers["x-a"], found.headers["cache-control"]) == ("b", "no-store")
            assert (await http.get(f"{url}/y")).status_code == 404
        assert (await http.get(url)).status_code == 404


def test_a_part_that_ends_removes_only_its_own_call() -> None:
    async def newer(_request: AdminRequest) -> AdminAnswer:
        return AdminAnswer.json(200, {})

    calls = AdminCalls()
    with contextlib.ExitStack() as newest:
        with calls.serving("/x", answer):
            newest.enter_context(calls.serving("/x", newer))
            assert calls.at("/x") is newer
        assert calls.at("/x") is newer
    assert calls.at("/x") is None
