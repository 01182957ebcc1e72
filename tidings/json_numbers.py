"""Numbers of JSON by their value: however a client writes one, it is one number. Pure.

`5`, `5.0` and `50e-1` are 5; `1e19` is 10000000000000000000; `-0` is 0. Whole numbers of 64 bits are kept exactly.
Anything else is kept as the nearest double, and refused in a body where it has more digits than a double keeps.
"""

import math
import sys
from dataclasses import dataclass
from decimal import Decimal

LEAST_WHOLE = -(2**63)
MOST_WHOLE = 2**64 - 1
# Printed with so many digits, a double comes back as itself, and many libraries print them all.
DOUBLE_DIGITS = 17
# Of MOST_WHOLE. A number of more significant digits is neither a whole one of 64 bits nor a double.
WHOLE_DIGITS = 20
# No text is as long as the zeros that would make up for more.
_POWER_DIGITS = 9
# Up to 15 digits, and a point or an `e`: below 10^15 no two such numbers share a double, so the nearest one tells all.
_PLAIN_CHARS = 16
_PLAIN_BOUND = 1e15


@dataclass(frozen=True, slots=True)
class Inexact:
    """A number that cannot be kept; `text` as the client wrote it. Equal to nothing that a field may hold."""

    text: str


def number_of(text: str) -> int | float | Inexact:
    """The value of a number that JSON writes with a fraction or an exponent. For msgspec's `float_hook`.

    Linear in the text: nothing but a short form of it is ever reckoned with.
    """
    if len(text) <= _PLAIN_CHARS:
        double = float(text)
        if 0 < abs(double) < _PLAIN_BOUND:
            return int(double) if double.is_integer() else double
    short = _short(text)
    if short is None:
        return Inexact(text)
    double = float(short)
    if double == 0 and short == "0":
        return 0
    if double == 0 or not math.isfinite(double):
        return Inexact(text)
    exact = Decimal(short)
    if exact == exact.to_integral_value():
        # A double of more than 64 bits never becomes a long integer.
        whole = int(exact) if LEAST_WHOLE <= double <= MOST_WHOLE + 1 else MOST_WHOLE + 1
        if LEAST_WHOLE <= whole <= MOST_WHOLE:
            return whole
    elif double.is_integer():
        return Inexact(text)
    return double if len(exact.as_tuple().digits) <= DOUBLE_DIGITS else Inexact(text)


def _short(text: str) -> str | None:
    """The same value as significant digits and an exponent; None where nothing keeps so many of them."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "0"
    power_digits = exponent.lstrip("+-").lstrip("0")
    if len(significant) > WHOLE_DIGITS or len(power_digits) > _POWER_DIGITS:
        return None
    power = int(power_digits or "0") * (-1 if exponent.startswith("-") else 1)
    sign = "-" if mantissa.startswith("-") else ""
    return f"{sign}{significant}e{power + len(digits) - len(significant) - len(fraction)}"


def kept(value: int | float) -> int | float:
    """A number as canonical JSON writes it. Raises ValueError for one that cannot be kept."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number of JSON")
        return int(value) if value.is_integer() and LEAST_WHOLE <= value <= MOST_WHOLE else value
    if LEAST_WHOLE <= value <= MOST_WHOLE:
        return value
    double = float(value) if value.bit_length() <= sys.float_info.max_exp - 1 else math.inf
    if math.isfinite(double) and len(str(value).strip("-").rstrip("0")) <= DOUBLE_DIGITS:
        return double
    raise ValueError(unkept(f"a whole number of {value.bit_length()} bits"))


def unkept(what: str) -> str:
    """The text for a number that cannot be kept."""
    return f"{what} cannot be kept; write it as a string (whole numbers of 64 bits, or {DOUBLE_DIGITS} digits)"
