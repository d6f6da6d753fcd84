"""The decimal digits of a float, by Grisu2 (F. Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers").

They read back as the same float and are nearly always the fewest that do, but some floats get one digit more. C++ Nix writes JSON
so, hence Python's own shortest digits won't do.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_BITS: Final = 64
_LEAST_POWER: Final = -300
_STEP: Final = 8
_ALPHA: Final = -60
"""Scaled by a power of ten, a number's binary exponent is from here to -32."""


def float_digits(value: float) -> tuple[str, int]:
    """Digits and the exponent of ten of the last one, of a finite number above zero."""
    from math import frexp

    mantissa, exponent = frexp(value)
    number, binary = int(mantissa * (1 << 53)), exponent - 53
    if binary < -1074:
        number, binary = number >> (-1074 - binary), -1074
    # The floats next to this one are half as far away below a power of two, unless the smallest exponent is reached.
    close = number == 1 << 52 and binary > -1074
    shift = _BITS - (number * 2 + 1).bit_length()
    upper, lower = (number * 2 + 1) << shift, (number * 4 - 1) << shift >> 1 if close else (number * 2 - 1) << shift
    exact = number << (shift + 1)
    top = binary - 1 - shift
    power, scale, scale_exponent = _power_for(top)
    below, above = _scaled(lower, scale) + 1, _scaled(upper, scale) - 1
    digits, last = _generated(above - below, above - _scaled(exact, scale), above, -(top + scale_exponent + _BITS))
    return digits, last - power


def _scaled(number: int, scale: int) -> int:
    return (number * scale + (1 << (_BITS - 1))) >> _BITS


def _power_for(exponent: int) -> tuple[int, int, int]:
    """A power of ten that brings a binary exponent into the range: the power, its 64 bits, and their exponent."""
    wanted = _ALPHA - exponent - 1
    quotient = abs(wanted) * 78913 >> 18
    least = quotient + 1 if wanted > 0 else -quotient
    power = _LEAST_POWER + (-_LEAST_POWER + least + _STEP - 1) // _STEP * _STEP
    if power >= 0:
        whole, divisor = 10**power, 1
    else:
        whole, divisor = 1, 10**-power
    shift = _BITS - whole.bit_length() + divisor.bit_length()
    while True:
        above, below = (whole << shift, divisor) if shift >= 0 else (whole, divisor << -shift)
        rounded = (2 * above + below) // (2 * below)
        if rounded < 1 << _BITS:
            return power, rounded, -shift
        shift -= 1


def _generated(delta: int, distance: int, above: int, point: int) -> tuple[str, int]:
    """The digits of `above`, whose lower `point` bits are its fraction, as far as `delta` leaves them open."""
    one = 1 << point
    whole, fraction = above >> point, above & (one - 1)
    digits: list[int] = []
    left = len(str(whole))
    ten = int(10 ** (left - 1))
    while left:
        digits.append(whole // ten)
        whole %= ten
        left -= 1
        rest = (whole << point) + fraction
        if rest <= delta:
            _round(digits, distance, delta, rest, ten << point)
            return _text(digits), left
        ten //= 10
    while fraction > delta:
        fraction *= 10
        digits.append(fraction >> point)
        fraction &= one - 1
        delta *= 10
        distance *= 10
        left -= 1
    _round(digits, distance, delta, fraction, one)
    return _text(digits), left


def _round(digits: list[int], distance: int, delta: int, rest: int, unit: int) -> None:
    """Make the last digit smaller while that comes closer to the number."""
    while rest < distance and delta - rest >= unit and (rest + unit < distance or distance - rest > rest + unit - distance):
        digits[-1] -= 1
        rest += unit


def _text(digits: list[int]) -> str:
    return "".join([str(digit) for digit in digits])
