"""One number has one canonical form, however it is written; what cannot be kept is refused."""

import json
from decimal import Decimal

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.codec import canonical_json
from tidings.json_numbers import LEAST_WHOLE, MOST_WHOLE, Inexact, number_of

_DECODER = msgspec.json.Decoder(float_hook=number_of)
digits = st.text("0123456789", min_size=1, max_size=25)
written = st.builds(
    lambda sign, whole, fraction, exponent: f"{sign}{int(whole)}{fraction}{exponent}",
    st.sampled_from(["", "-"]),
    digits,
    st.just("") | digits.map(lambda text: f".{text}"),
    st.just("") | st.integers(-330, 330).map(lambda power: f"e{power}"),
)


def canonical(text: str) -> bytes | None:
    """None for a number that is refused."""
    try:
        return canonical_json(_DECODER.decode(text))
    except ValueError:
        return None


@pytest.mark.field_case("13")
@pytest.mark.parametrize(
    "same",
    [
        ["1e19", "10000000000000000000", "1.0E+19", "10000000000000000000.0", "0.1e20"],
        ["5", "5.0", "50e-1", "5e0", "0.5e1"],
        ["0", "-0", "-0.0", "0e5", "0.000", "-0e-400"],
        ["9007199254740993", "9007199254740993.0", "9007199254740993e0"],
        ["18446744073709551615", "18446744073709551615.0"],
        ["-9223372036854775808", "-9.223372036854775808e18"],
        ["1e20", "100000000000000000000", "1.0e20"],
        ["1e300", "1" + "0" * 300],
        ["0.1", "0.10", "1e-1", "0.10000000000000001", "0.1000000000000000000000"],
        ["-1.5", "-15e-1"],
        ["5e-324", "0.5e-323"],
    ],
)
def test_a_number_has_one_form_however_it_is_written(same: list[str]) -> None:
    forms = {canonical(text) for text in same}
    assert len(forms) == 1
    assert None not in forms
    assert Decimal(same[0]) == Decimal((forms.pop() or b"").decode())


@pytest.mark.field_case("13")
@pytest.mark.parametrize(
    "text",
    [
        "18446744073709551617",
        "-9223372036854775809",
        "100000000000000000001",
        "1180591620717411303424",
        "1e400",
        "-1e400",
        "1" + "0" * 400,
        "1e-400",
        "3.141592653589793238",
        "0.1234567890123456789",
        "9007199254740993.5",
        "12345678901234567890.5",
    ],
)
def test_a_number_that_cannot_be_kept_is_refused(text: str) -> None:
    assert canonical(text) is None


@settings(max_examples=200)
@given(written)
def test_what_is_kept_keeps_its_value(text: str) -> None:
    """To one unit of the last place of a double, and whole numbers to the last one."""
    form = canonical(text)
    if form is None:
        return
    exact, stored = Decimal(text), Decimal(form.decode())
    if exact == exact.to_integral_value() and LEAST_WHOLE <= exact <= MOST_WHOLE:
        assert stored == exact
    else:
        assert abs(stored - exact) <= max(abs(exact) * Decimal("2.3e-16"), Decimal("5e-324"))
    assert canonical(form.decode()) == form


@given(st.integers(LEAST_WHOLE, MOST_WHOLE), st.integers(0, 30))
def test_a_whole_number_of_64_bits_is_kept_in_every_form(number: int, zeros: int) -> None:
    plain = str(number).encode()
    assert canonical(str(number)) == plain
    assert canonical(f"{number}.{'0' * (zeros + 1)}") == plain
    assert canonical(f"{number}{'0' * zeros}e-{zeros}") == plain


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_kept(double: float) -> None:
    for text in (json.dumps(double), orjson.dumps(double).decode(), f"{double:.17g}", f"{double:.16e}"):
        form = canonical(text)
        assert form is not None
        assert float(form) == double


def test_a_number_that_cannot_be_kept_is_not_equal_to_any() -> None:
    assert number_of("1e400") == Inexact("1e400")
    assert number_of("1e999999999999999999999") == Inexact("1e999999999999999999999")
    assert number_of("1e-999999999999999999999") == Inexact("1e-999999999999999999999")
