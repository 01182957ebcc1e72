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


@dataclass(frozen=True, slots=True)
class Inexact:
    """A number that cannot be kept; `text` as the client wrote it. Equal to nothing that a field may hold."""

    text: str


def number_of(text: str) -> int | float | Inexact:
    """The value of a number that JSON writes with a fraction or an exponent. For msgspec's `float_hook`."""
    double = float(text)
    if not math.isfinite(double):
        return Inexact(text)
    if double == 0:
        return Inexact(text) if text.lower().partition("e")[0].strip("-0.") else 0
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        # A double of more than 64 bits never becomes a long integer.
        whole = int(exact) if LEAST_WHOLE <= double <= MOST_WHOLE + 1 else MOST_WHOLE + 1
        if LEAST_WHOLE <= whole <= MOST_WHOLE:
            return whole
    elif double.is_integer():
        return Inexact(text)
    return double if _is_kept(double, exact) else Inexact(text)


def kept(value: int | float) -> int | float:
    """A number as canonical JSON writes it. Raises ValueError for one that cannot be kept."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number of JSON")
        return int(value) if value.is_integer() and LEAST_WHOLE <= value <= MOST_WHOLE else value
    if LEAST_WHOLE <= value <= MOST_WHOLE:
        return value
    double = float(value) if value.bit_length() <= sys.float_info.max_exp - 1 else math.inf
    if math.isfinite(double) and _is_kept(double, Decimal(value)):
        return double
    raise ValueError(unkept(f"a whole number of {value.bit_length()} bits"))


def unkept(what: str) -> str:
    """The text for a number that cannot be kept."""
    return f"{what} cannot be kept; write it as a string (whole numbers of 64 bits, or {DOUBLE_DIGITS} digits)"


def _is_kept(double: float, exact: Decimal) -> bool:
    if exact == Decimal(repr(double)):
        return True
    digits = "".join(map(str, exact.as_tuple().digits)).strip("0")
    return len(digits) <= DOUBLE_DIGITS
