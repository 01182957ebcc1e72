"""Paths: a call is the one that was written, with the ids that were written, or it is refused."""

import asyncio
import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.gateway.rest.paths import routed_path
from tests.unit.gateway.asking import asked, noting_app
from tidings.errors import Refused

CALLS = [
    ("GET", "/v1/sessions/{session_id}"),
    ("GET", "/v1/sessions/{session_id}/messages"),
    ("PUT", "/v1/sessions/{session_id}/read"),
    ("GET", "/v1/sessions/{session_id}/messages/{seq}/receipts"),
    ("GET", "/v1/groups/{group_id}"),
    ("PATCH", "/v1/groups/{group_id}"),
    ("DELETE", "/v1/groups/{group_id}"),
    ("POST", "/v1/groups/{group_id}/members"),
    ("PUT", "/v1/groups/{group_id}/members/{user_id}"),
    ("DELETE", "/v1/groups/{group_id}/members/{user_id}"),
    ("POST", "/v1/groups/{group_id}/transfer"),
    ("PUT", "/v1/blocks/{user_id}"),
    ("DELETE", "/v1/blocks/{user_id}"),
]
TEXTS = (
    st.text(max_size=12)
    | st.text("./\\%25fF2eEcC?#:@ab", max_size=12)
    | st.sampled_from(["..", ".", "...", "g:X", "g:X/members/bob", "g:X%2Fmembers%2Fbob", "../members", "bob"])
)


def encoded_by_the_book(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass") if text else ""


# Made once: it takes 60 ms.
APP, NOTING = noting_app()


@pytest.fixture(autouse=True)
def _called_by_no_other_test() -> None:
    NOTING.called.clear()


@pytest.mark.field_case("1")
@given(st.sampled_from(CALLS), st.lists(TEXTS, min_size=2, max_size=2))
@example(("DELETE", "/v1/groups/{group_id}"), ["g:X/members/bob", ""])
@example(("DELETE", "/v1/groups/{group_id}/members/{user_id}"), ["g:X", ".."])
def test_encoded_ids_reach_their_call_or_none(call: tuple[str, str], texts: list[str]) -> None:
    method, template = call
    names = re.findall(r"{(\w+)}", template)
    ids = dict(zip(names, texts, strict=False))
    path = template.format(**{name: encoded_by_the_book(text) for name, text in ids.items()})
    NOTING.called.clear()
    answer = asyncio.run(asked(APP, method, path))
    assert NOTING.called in ([], [(method, template, ids)])
    assert answer.status in (400, 401, 404, 405)
    assert answer.problem["code"] in ("invalid_frame", "unauthorized")


@pytest.mark.field_case("1")
@given(
    st.sampled_from(["GET", "PUT", "PATCH", "POST", "DELETE"]),
    st.sampled_from(["/v1/groups/", "/v1/sessions/", "/v1/blocks/", "/v1/groups/g:X/members/", "/v1", "/", ""]),
    st.text("./%25fF2eEcC\\:abgX;,+&=~members", max_size=30),
)
def test_written_paths_reach_what_they_spell(method: str, begin: str, rest: str) -> None:
    NOTING.called.clear()
    path = "/" + (begin + rest).lstrip("/")
    asyncio.run(asked(APP, method, path))
    for _, template, ids in NOTING.called:
        written = path.split("/")
        spelled = template.split("/")
        assert len(written) == len(spelled)
        for segment, name in zip(written, spelled, strict=True):
            assert unquote(segment) == (ids[name[1:-1]] if name.startswith("{") else name)


@pytest.mark.field_case("1")
@pytest.mark.parametrize(
    "path",
    [
        "/v1/groups/g:X/",
        "/v1/groups/g:X//",
        "/v1/groups//g:X",
        "//v1/groups/g:X",
        "/v1/groups/g:X/members/..",
        "/v1/groups/g:X/members/.",
        "/v1/groups/g:X/members/%2e%2e",
        "/v1/groups/g:X/members/.%2E",
        "/v1/groups/g:X/members/",
        "/v1/groups/g:X/.",
        "/v1/./groups/g:X",
        "/v1/groups/g:X%2Fmembers%2Fbob",
        "/v1/groups/g:X%2fmembers%2fbob",
        "/v1/groups/g:X%252Fmembers%252Fbob",
        "/v1/groups/g:X%5Cmembers%5Cbob",
        "/v1/groups/g:X\\members\\bob",
        "/v1/groups/g:X%00",
        "/v1/groups/g:X%0A",
        "/v1/groups/g:X%c0%af",
        "http://gateway.example/v1/groups/g:X/",
        "http://gateway.example/v1/groups/g:X/members/..",
        "HTTP://gateway.example//v1/groups/g:X",
    ],
)
async def test_folded_path_dissolves_no_group(path: str) -> None:
    for method in ("DELETE", "PUT", "PATCH", "POST", "GET"):
        answer = await asked(APP, method, path)
        assert answer.status in (400, 404), (method, path)
        assert answer.header("location") is None
    assert NOTING.called == []


@pytest.mark.parametrize("path", ["/v1/groups/g%3AX", "/v1/groups/%67:X", "http://any.example/v1/groups/g:X?x=/.."])
async def test_other_spellings_of_an_id_are_that_id(path: str) -> None:
    assert (await asked(APP, "DELETE", path)).status == 401
    assert NOTING.called == [("DELETE", "/v1/groups/{group_id}", {"group_id": "g:X"})]


@given(st.text("/abc%2F.\\", max_size=20))
def test_routed_path_has_the_slashes_that_were_written(text: str) -> None:
    try:
        path = routed_path(text)
    except Refused:
        return
    assert path.count("/") == text.count("/")
    assert "%" not in path
