"""The time inside an id, judged by the clock that the gateway tells its clients."""

import pytest

from services.gateway.protocol.commands import MAX_AGE_MS, MAX_FUTURE_MS, check_id_time
from tests.unit.persister.builders import NOON_MS, uuid7
from tidings.errors import Refused


@pytest.mark.field_case("40")
def test_the_bounds_of_an_id_are_those_of_the_contract() -> None:
    assert (MAX_FUTURE_MS, MAX_AGE_MS) == (5 * 60_000, 90 * 24 * 3_600_000)
    check_id_time(uuid7(NOON_MS + MAX_FUTURE_MS), NOON_MS)
    check_id_time(uuid7(NOON_MS - MAX_AGE_MS), NOON_MS)
    check_id_time("no uuid", NOON_MS)


@pytest.mark.field_case("40")
@pytest.mark.parametrize(("distance_ms", "code"), [(MAX_FUTURE_MS + 1, "clock_skew"), (-MAX_AGE_MS - 1, "too_old")])
def test_an_id_beyond_the_bounds_is_refused(distance_ms: int, code: str) -> None:
    with pytest.raises(Refused) as refused:
        check_id_time(uuid7(NOON_MS + distance_ms), NOON_MS)
    assert refused.value.code == code
