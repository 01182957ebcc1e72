"""Every call is described by its route: models, status, codes and examples, from which the document is made."""

import inspect
import re
from typing import Any, cast

import msgspec
import pytest

from services.gateway.protocol import requests
from services.gateway.protocol.bodies import BodyRules, checked_post
from services.gateway.rest import openapi
from services.gateway.rest.error_codes import MEANINGS
from services.gateway.rest.models import Problem
from services.gateway.rest.routes import Route, routes_of
from tests.unit.gateway.asking import noting_calls
from tests.unit.gateway.documented import Document
from tidings.errors import HTTP_STATUS, RETRYABLE_CODES

ROUTES = routes_of(noting_calls()[0])
OPENAPI = openapi.document(ROUTES)
WITHOUT_BODY = {("GET", None), ("DELETE", None), ("PUT", "/v1/blocks/{user_id}"), ("POST", "/v1/media")}


def name_of(route: Route) -> str:
    return route.name


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_route_has_the_models_of_what_it_takes_and_answers(route: Route) -> None:
    assert (route.answer is None) == (route.status == 204 or route.gives_bytes)
    has_request = not {(route.method, None), (route.method, route.path)} & WITHOUT_BODY
    assert (route.request is not None) == has_request
    named = set(re.findall(r"{(\w+)}", route.path))
    assert set(inspect.signature(route.call).parameters) == {"request", *named}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_code_of_a_route_is_one_of_protocol(route: Route) -> None:
    by_status = route.codes_by_status()
    codes = {code for codes in by_status.values() for code in codes}
    assert codes <= HTTP_STATUS.keys()
    assert {"invalid_frame", "unavailable", "timeout"} <= codes
    assert ("unauthorized" in codes) == route.needs_token
    others = {(408, "timeout"), (500, "unavailable"), (415, "invalid_frame"), (416, "invalid_frame")}
    pairs = {(status, code) for status, codes in by_status.items() for code in codes}
    assert {(status, code) for status, code in pairs if HTTP_STATUS[code] != status} <= others


def test_every_code_has_a_meaning() -> None:
    assert MEANINGS.keys() == HTTP_STATUS.keys()


def test_every_operation_of_the_document_is_complete() -> None:
    operations = list(Document.of(OPENAPI).operations())
    assert {one["operationId"] for _, _, one in operations} == {route.name for route in ROUTES}
    for _, _, one in operations:
        assert one["description"]
        assert all(parameter["schema"] and parameter["description"] for parameter in one["parameters"])
        failed = {status: answer for status, answer in one["responses"].items() if status >= "4"}
        assert {"400", "408", "500", "503"} <= failed.keys()
        for answer in failed.values():
            content = answer["content"]["application/problem+json"]
            codes = content["schema"]["allOf"][1]["properties"]["code"]["enum"]
            assert list(content["examples"]) == codes


def test_every_reference_of_the_document_leads_somewhere() -> None:
    references = re.findall(r'"\$ref":"#/([^"]+)"', msgspec.json.encode(OPENAPI).decode())
    assert len(references) > 50
    for reference in references:
        found: Any = OPENAPI
        for part in reference.split("/"):
            found = found[part]
        assert found


def test_examples_of_problems_are_problems() -> None:
    examples = OPENAPI["components"]["examples"]
    assert len(examples) > 20
    for name, example in examples.items():
        found = msgspec.convert(example["value"], Problem)
        assert name == f"{found.code}.{found.status}"
        assert found.retryable == (found.code in RETRYABLE_CODES)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_examples_fit_their_models(route: Route) -> None:
    document = Document.of(OPENAPI)
    for model in (route.request, route.answer):
        if model is not None:
            reference = {"$ref": f"#/components/schemas/{model.__name__}"}
            example = openapi.example(reference, OPENAPI["components"]["schemas"])
            assert [error.message for error in document.validator(reference).iter_errors(example)] == []
            assert msgspec.convert(example, model)
            if model is route.request:
                assert requests.read(model, cast("dict[str, object]", example))


@pytest.mark.parametrize("kind", ["TextBody", "ImageBody", "FileBody", "CustomBody"])
def test_examples_of_bodies_are_taken(kind: str) -> None:
    example = openapi.example({"$ref": f"#/components/schemas/{kind}"}, OPENAPI["components"]["schemas"])
    rules = BodyRules(frozenset({"media.example"}))
    assert checked_post(kind.removesuffix("Body").lower(), example, None, None, rules).body


def test_page_shows_every_call_and_loads_nothing() -> None:
    page = openapi.page(OPENAPI)
    assert all(f"{route.method} {route.path}" in page for route in ROUTES)
    assert "group_full" in page
    assert "<script" not in page
    assert "src=" not in page
    assert "http" not in page
