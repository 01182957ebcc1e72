"""Bodies that no frame can carry."""

from typing import Any

import pytest

from tidings_client.composing import fault_of
from tidings_client.drafts import Draft

NESTED: Any = 1
for _ in range(31):
    NESTED = [NESTED]


@pytest.mark.parametrize("data", [float("nan"), b"x", {1, 2}, object(), "\ud800", {(1, 2): 3}, NESTED])
def test_body_that_no_frame_can_carry_is_named(data: object) -> None:
    assert fault_of(Draft("a", "custom", {"type": "t", "data": data}, to="bob"))


@pytest.mark.parametrize("data", [None, 1.5, [1, {"a": "ß"}], NESTED[0]])
def test_valid_json_has_no_fault(data: object) -> None:
    assert fault_of(Draft("a", "custom", {"type": "t", "data": data}, to="bob")) is None
