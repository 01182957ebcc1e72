"""Answers held against /openapi.json: every field documented, every status and every code that of its call."""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx2
from jsonschema import Draft202012Validator

# A path or a method that is no call; `info.description` speaks of them.
_NO_CALL = (404, 405)
# The content of an upload has no schema.
ANY_BYTES = "*/*"


@dataclass
class Document:
    """An OpenAPI document. `seen` collects the (operation, status) that were held against it."""

    paths: Mapping[str, Any]
    schemas: Mapping[str, Any]
    seen: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def of(cls, openapi: Mapping[str, Any]) -> "Document":
        """With every object closed, so that a field that no schema names is a fault."""
        schemas = copy.deepcopy(openapi["components"]["schemas"])
        for schema in schemas.values():
            schema["additionalProperties"] = False
        return cls(openapi["paths"], schemas)

    def operations(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """(method, path, operation) of every call."""
        for path, operations in self.paths.items():
            for method, operation in operations.items():
                yield method.upper(), path, operation

    def check(self, method: str, path: str, response: httpx2.Response) -> None:
        """AssertionError for an answer that the document does not describe."""
        operation = self._operation(method, path.partition("?")[0])
        if operation is None:
            assert response.status_code in (*_NO_CALL, 400), (method, path, response.status_code)
            return
        called = f"{operation['operationId']}: {response.status_code} {response.text[:500]}"
        described = operation["responses"].get(str(response.status_code))
        assert described is not None, f"{called}: the status is not documented"
        self.seen.add((operation["operationId"], response.status_code))
        if "content" not in described:
            assert response.content == b"", f"{called}: a body that is not documented"
            return
        if ANY_BYTES in described["content"]:
            return
        content = described["content"].get(response.headers["content-type"])
        assert content is not None, f"{called}: {response.headers['content-type']} is not documented"
        faults = [error.message for error in self.validator(content["schema"]).iter_errors(response.json())]
        assert faults == [], called

    def validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        """For a schema that may name components."""
        return Draft202012Validator({**schema, "components": {"schemas": self.schemas}})

    def _operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        for one, template, operation in self.operations():
            if one == method and _pattern(template).fullmatch(path):
                return operation
        return None


@lru_cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"{\w+}", template)
    return re.compile("[^/]+".join(map(re.escape, parts)))
