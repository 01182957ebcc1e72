"""Places for uploads and downloads."""

import pytest

from services.gateway.media.places import Places
from tidings.errors import Refused


def test_places_are_bounded_per_user_and_in_all() -> None:
    places = Places("uploads", at_once=3, per_user=2)
    with places.taken("alice"), places.taken("alice"):
        with pytest.raises(Refused, match="rate_limited"), places.taken("alice"):
            pytest.fail("a third place")
        with places.taken("bob"), pytest.raises(Refused, match="unavailable"), places.taken("carol"):
            pytest.fail("a fourth place")
        with places.taken("carol"):
            pass
    with places.taken("alice"), places.taken("alice"):
        pass
