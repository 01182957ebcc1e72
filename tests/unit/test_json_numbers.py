"""One number has one canonical form, however it is written; what cannot be kept is refused."""

import json
import time
from decimal import Decimal

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings import json_numbers
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


LONG = 60_000
LONG_NUMBERS = {
    "digits before the point": "9" * LONG + ".5",
    "digits behind the point": "0." + "1" * LONG,
    "zeros behind the point": "0." + "0" * LONG + "1",
    "zeros and what makes up for them": "1" + "0" * LONG + f"e-{LONG}",
    "a whole number and zeros": f"{MOST_WHOLE}." + "0" * LONG,
    "zeros before the digits": "0." + "0" * LONG + f"15e{LONG}",
    "digits and an exponent": "9" * LONG + f"e-{LONG}",
    "nothing but zeros": "0." + "0" * LONG,
    "a long exponent": "1e" + "9" * LONG,
    "a long exponent below zero": "1e-" + "9" * LONG,
    "a long exponent of zeros": "1e" + "0" * LONG + "1",
    "an exponent of 11 digits": "1e99999999999",
}


class Work:
    """What decimals are asked to take in."""

    def __init__(self) -> None:
        self.characters = 0

    def decimal(self, text: str) -> Decimal:
        self.characters += len(text)
        return Decimal(text)


@pytest.mark.parametrize("kind", LONG_NUMBERS)
def test_a_long_number_is_judged_by_its_text(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    monkeypatch.setattr(json_numbers, "Decimal", work.decimal)
    canonical(LONG_NUMBERS[kind])
    assert work.characters < 50


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("zeros and what makes up for them", b"1"),
        ("a whole number and zeros", str(MOST_WHOLE).encode()),
        ("zeros before the digits", b"0.15"),
        ("nothing but zeros", b"0"),
        ("a long exponent of zeros", b"10"),
        ("digits behind the point", None),
        ("a long exponent", None),
    ],
)
def test_a_long_number_has_the_value_that_it_writes(kind: str, form: bytes | None) -> None:
    assert canonical(LONG_NUMBERS[kind]) == form


@pytest.mark.parametrize(
    "number", ["1.5", "5e0", "0.12345678901234567", "1" * 4_000, "9" * 309, "9" * 100 + ".5", "1e-400"]
)
def test_a_body_of_numbers_takes_a_bounded_time(number: str) -> None:
    """Of a quarter of a megabyte. Generous: some tenths of a second on a slow machine."""
    body = "[" + ",".join([number] * (250_000 // (len(number) + 1))) + "]"
    began_s = time.process_time()
    canonical(body)
    assert time.process_time() - began_s < 3


@given(written.filter(lambda text: len(text) <= 16))
def test_a_plain_number_is_what_its_digits_say(text: str) -> None:
    value = number_of(text)
    if isinstance(value, int):
        assert value == Decimal(text)
    elif isinstance(value, float):
        assert value == float(text)
