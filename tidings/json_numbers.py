"""JSON numbers by value: all ways to write a number give the same number. Pure.

`5`, `5.0` and `50e-1` are 5; `1e19` is 10000000000000000000; `-0` is 0. Whole numbers of 64 bits are kept exactly.
Any other number is kept as the nearest double. A body with a number of more digits than a double keeps is refused.
"""

import math
import sys
from dataclasses import dataclass
from decimal import Decimal

LEAST_WHOLE = -(2**63)
MOST_WHOLE = 2**64 - 1
# A double printed with so many digits is read back as itself, and many libraries print all of them.
DOUBLE_DIGITS = 17
# The digits of MOST_WHOLE. A number with more significant digits is neither a whole number of 64 bits nor a double.
WHOLE_DIGITS = 20
# A larger exponent would need more zeros in the text than any text has.
_POWER_DIGITS = 9
# Up to 15 digits, and a point or an `e`. Below 10^15 no two such numbers share a double, so a double identifies each.
_PLAIN_CHARS = 16
_PLAIN_BOUND = 1e15


@dataclass(frozen=True, slots=True)
class Inexact:
    """A number that cannot be kept, with the client's `text`. It is not equal to any value that a field may hold."""

    text: str


def number_of(text: str) -> int | float | Inexact:
    """The value of a number that is written with a fraction or an exponent. For msgspec's `float_hook`.

    Linear in the length of the text, because all arithmetic uses a short form of it.
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
        # A double of more than 64 bits is not converted, because it would become a very long integer.
        whole = int(exact) if LEAST_WHOLE <= double <= MOST_WHOLE + 1 else MOST_WHOLE + 1
        if LEAST_WHOLE <= whole <= MOST_WHOLE:
            return whole
    elif double.is_integer():
        return Inexact(text)
    return double if len(exact.as_tuple().digits) <= DOUBLE_DIGITS else Inexact(text)


def _short(text: str) -> str | None:
    """The same value as significant digits and an exponent. None if it has too many digits to be kept."""
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
    """A number as canonical JSON writes it. Raises ValueError if it cannot be kept."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        return int(value) if value.is_integer() and LEAST_WHOLE <= value <= MOST_WHOLE else value
    if LEAST_WHOLE <= value <= MOST_WHOLE:
        return value
    double = float(value) if value.bit_length() <= sys.float_info.max_exp - 1 else math.inf
    if math.isfinite(double) and len(str(value).strip("-").rstrip("0")) <= DOUBLE_DIGITS:
        return double
    raise ValueError(unkept(f"a whole number of {value.bit_length()} bits"))


def unkept(what: str) -> str:
    """The error text for a number that cannot be kept."""
    return f"{what} cannot be kept; write it as a string (whole numbers of 64 bits, or {DOUBLE_DIGITS} digits)"
