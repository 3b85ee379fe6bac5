"""Numbers as DynamoDB takes them, writes them and counts them. Pure.

Before: `_dynamodb_item`. After: the text of an `N`, and how many bytes of the item it is.
Sources: "Supported data types and naming rules" and "DynamoDB item sizes and formats" (developer guide, November 2026);
the count to the byte was measured on DynamoDB Local 3, and agrees with what others measured on AWS.
"""

from __future__ import annotations

from decimal import Decimal

MAX_DIGITS = 38
# Of the number's leading digit: from 1E-130 to 9.99...E+125.
_EXPONENTS = range(-130, 126)
# All integers below have at most 38 digits; those that end in no zero are counted by their length.
_EASY = 10**38
# 10**126 has so many; a longer int is refused before Python writes out its thousands of digits.
_MOST_BITS = 419


class NotANumberError(ValueError):
    """DynamoDB has no such number; the text says why."""


def number_of_int(value: int) -> tuple[str, int]:
    """Return an integer's text and how many bytes DynamoDB counts for it.

    Raises:
        NotANumberError: it has too many digits.
    """
    if -100 < value < 100:  # noqa: PLR2004 - a byte holds two digits: the usual small number needs no arithmetic
        return str(value), (2 if value > 0 else 3) if value else 1
    if -_EASY < value < _EASY and value % 10:
        text = str(value)
        return text, (len(text) + 4) // 2 if value < 0 else (len(text) + 3) // 2
    if value.bit_length() > _MOST_BITS:
        raise NotANumberError("is above 9.99E+125 in magnitude")
    return _number("-" if value < 0 else "", str(abs(value)), 0)


def number_of_float(value: float) -> tuple[str, int]:
    """Return the shortest decimal text that reads back as the same float, and its count.

    Raises:
        NotANumberError: it is NaN or infinite, or out of range.
    """
    return number_of_decimal(Decimal(repr(float(value))))


def number_of_decimal(value: Decimal) -> tuple[str, int]:
    """Return a decimal's text and how many bytes DynamoDB counts for it: none of its digits is ever rounded.

    Raises:
        NotANumberError: it is NaN or infinite, out of range, or has more than 38 significant digits.
    """
    # Its own text, which is always exact, is far cheaper to have than its digits one by one.
    text = str(value)
    whole, _, fraction = text.partition(".")
    # The usual amount of money: no sign, no exponent, no zero at either end.
    if whole.isdigit() and fraction.isdigit() and whole[0] != "0" != fraction[-1] and len(text) <= MAX_DIGITS:
        return text, (len(text) + len(fraction) % 2) // 2 + 1
    text, _, power = text.upper().partition("E")  # in some decimal contexts it is an "e"
    if not value.is_finite():
        raise NotANumberError("is NaN or infinite, which DynamoDB has no number for")
    whole, _, fraction = text.lstrip("-").partition(".")
    return _number("-" if text.startswith("-") else "", whole + fraction, int(power or 0) - len(fraction))


def _number(minus: str, digits: str, exponent: int) -> tuple[str, int]:
    digits = digits.lstrip("0")
    if not digits:
        return "0", 1
    significant = digits.rstrip("0")
    exponent += len(digits) - len(significant)
    if len(significant) > MAX_DIGITS:
        raise NotANumberError(f"has {len(significant)} significant digits, and DynamoDB keeps {MAX_DIGITS}")
    if exponent + len(significant) - 1 not in _EXPONENTS:
        raise NotANumberError("is outside 1E-130 to 9.99E+125 in magnitude")
    return _text(minus, significant, exponent), _bytes(minus, significant, exponent)


def _text(minus: str, significant: str, exponent: int) -> str:
    if 0 <= exponent <= MAX_DIGITS:
        return minus + significant + "0" * exponent
    return f"{minus}{significant}E{exponent}" if exponent else minus + significant


def _bytes(minus: str, significant: str, exponent: int) -> int:
    """One byte for the exponent, one for every two digits on either side of the decimal point, one for a minus."""
    return 1 + (len(significant) + exponent % 2 + 1) // 2 + len(minus)
