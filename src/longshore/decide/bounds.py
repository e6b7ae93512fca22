"""Whether one value is within what is allowed, and how its refusal is worded: the checks that all of admission shares.

Knows values and sentences; which bounds hold for which field is `grammar`'s.
"""

import re
from collections.abc import Sized

from longshore.decide import grammar
from longshore.model.errors import Invalid


def check_number(value: float, bounds: tuple[float, float], field: str) -> None:
    least, most = bounds
    # Written so that NaN, which compares as false with everything, is refused too.
    if not least <= value <= most:
        raise Invalid(f"the number must be from {least:g} to {most:.15g}", field=field)


def match(pattern: re.Pattern[str], text: str, field: str, rule: str, *, longest: int = 256) -> str:
    if len(text) > longest or not pattern.fullmatch(text):
        raise Invalid(f"{shown(text)} will not do: {rule}", field=field)
    return text


def check_count(many: Sized, field: str, what: str) -> None:
    if len(many) > grammar.ITEMS_MAX:
        raise Invalid(f"{len(many)} {what} are more than {grammar.ITEMS_MAX}; leave some out", field=field)


def shown(text: str) -> str:
    """`text` as a message may carry it: escaped and short."""
    return ascii(text if len(text) <= 80 else f"{text[:77]}...")
