"""GET /admin/v1/trace of a gateway: its token, its questions, its answers and its log lines."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from services.gateway.settings import AdminSettings
from services.gateway.trace_call import PATH
from tests.deployments import Deployment, running, settings
from tidings.errors import StoreUnavailable
from tidings.runtime.health import serve_admin

TOKEN = "0123456789abcdef" * 2
SUBJECT = {"session": "d:alice:bob", "seq": "1"}


@dataclass
class Operator:
    """A deployment with one message, and its admin port."""

    there: Deployment
    http: httpx2.AsyncClient

    async def get(self, token: str = TOKEN, /, **given: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.http.get(PATH, params=given or SUBJECT, headers=headers)


@contextlib.asynccontextmanager
async def operating(tmp_path: Path, *, has_token: bool = True) -> AsyncIterator[Operator]:
    if has_token:
        (tmp_path / "operator.token").write_text(TOKEN)
    admin = AdminSettings(token_file=str(tmp_path / "operator.token"))
    chosen = settings(tmp_path).model_copy(update={"admin": admin})
    async with running(chosen, workers=["persister"]) as there:
        content = {"to": "bob", "client_msg_id": "m1", "kind": "text", "body": {"text": "SECRET"}}
        assert (await there.call("alice", "POST", "/v1/messages", content))[0] == 201
        async with (
            serve_admin("127.0.0.1", 0, there.health) as port,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http,
        ):
            yield Operator(there, http)


def operator_lines(logs: list[Any]) -> list[Any]:
    return [log for log in logs if log["event"].startswith("operator call")]


async def test_a_trace_is_answered_and_logged(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        with capture_logs() as logs:
            answer = await operator.get()
        assert (answer.status_code, answer.json()["outcome"]) == (200, "stored")
        assert {"stage", "text", "source", "place", "at_ms", "kept"} == set(answer.json()["lines"][0])
        (line,) = operator_lines(logs)
        assert (line["log_level"], line["outcome"]) == ("info", "stored")
        assert line["subject"] == "ByPlace(session_id='d:alice:bob', seq=1)"
        assert "SECRET" not in f"{answer.text}{logs}"
        assert TOKEN not in str(logs)


async def test_calls_without_the_token_learn_nothing(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        user_token = await operator.there.token("alice")
        asked = itertools.product(("", "wrong", user_token), (SUBJECT, {"nonsense": "1"}))
        with capture_logs() as logs:
            answers = [await operator.get(token, **given) for token, given in asked]
        assert {(one.status_code, one.text) for one in answers} == {(401, '{"problem":"unauthorized"}\n')}
        assert {one.headers["www-authenticate"] for one in answers} == {"Bearer"}
        assert [line["event"] for line in operator_lines(logs)] == ["operator call refused"] * 6
        assert "wrong" not in str(logs)
        assert user_token not in str(logs)


async def test_without_a_token_file_there_is_no_such_path(tmp_path: Path) -> None:
    async with operating(tmp_path, has_token=False) as operator:
        missing = await operator.http.get("/admin/v1/other")
        answer = await operator.get()
        assert (answer.status_code, answer.text) == (missing.status_code, missing.text) == (404, "not found\n")


async def test_the_public_port_has_no_such_path(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        client = await operator.there.client("alice")
        for token in (TOKEN, await operator.there.token("alice")):
            found = await client.get(PATH, params=SUBJECT, headers={"Authorization": f"Bearer {token}"})
            assert found.status_code == 404
        assert PATH not in (await client.get("/openapi.json")).text


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"message_id": "x"}, "message_id is not a whole number"),
        ({"session": "d:alice:bob"}, "name one message"),
        ({"message_id": "1", "colour": "red"}, "there is no such parameter"),
        ({"message_id": ""}, "message_id is empty or given twice"),
        ({"message_id": "1", "recipient": "a b"}, "recipient is not a user id"),
        ({"sender": "a" * 3_000, "client_msg_id": "m"}, "longer than"),
    ],
)
async def test_malformed_questions_are_400(tmp_path: Path, given: dict[str, str], problem: str) -> None:
    async with operating(tmp_path) as operator:
        answer = await operator.get(**given)
        assert answer.status_code == 400
        assert problem in answer.json()["problem"]


async def test_other_methods_are_405(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        answer = await operator.http.post(PATH, headers={"Authorization": f"Bearer {TOKEN}"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_a_message_that_is_not_there_is_an_outcome(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        answer = await operator.get(message_id=str(2**62))
        assert (answer.status_code, answer.json()["outcome"]) == (200, "not_found")


async def test_tables_that_are_away_are_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise StoreUnavailable("no answer")

    async with operating(tmp_path) as operator:
        monkeypatch.setattr(operator.there.store, "segments", refuse)
        answer = await operator.get()
        assert (answer.status_code, "Cassandra does not answer" in answer.json()["problem"]) == (503, True)
        monkeypatch.undo()
        assert (await operator.get()).status_code == 200


async def test_one_trace_runs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    async with operating(tmp_path) as operator:
        segments = operator.there.store.segments

        async def slow(*asked: Any) -> Any:
            begun.set()
            await may_end.wait()
            return await segments(*asked)

        monkeypatch.setattr(operator.there.store, "segments", slow)
        first = asyncio.create_task(operator.get())
        await begun.wait()
        second = await operator.get()
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        may_end.set()
        assert (await first).status_code == 200
        assert (await operator.get()).status_code == 200
