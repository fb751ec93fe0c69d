"""The values that fields of a dataclass may have, as `Annotated[float, Ge(0), Le(1)]` or `Literal` says."""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le

from edgevid.errors import FieldError

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]


def check_fields(value: Any, name: str) -> None:
    """FieldError for the first field of the dataclass `value` with a number or word that its type excludes.

    `name` is what the message calls the value.
    """
    for key, choices in _choices(type(value)).items():  # type: ignore[arg-type]
        if (given := getattr(value, key)) not in choices:
            raise FieldError(name, key, one_of(choices), given)
    for key, (low, high) in field_limits(type(value)).items():  # type: ignore[arg-type]
        if not low <= (given := getattr(value, key)) <= high:
            raise FieldError(name, key, number_text(low, high), given)


@lru_cache
def field_limits(kind: Any) -> dict[str, tuple[float, float]]:
    """The lowest and highest allowed value of each field of a dataclass that has limits."""
    limits: dict[str, tuple[float, float]] = {}
    for key, hint in get_type_hints(kind, include_extras=True).items():
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        low: Any = next((mark.ge for mark in marks if isinstance(mark, Ge)), -math.inf)
        high: Any = next((mark.le for mark in marks if isinstance(mark, Le)), math.inf)
        if (low, high) != (-math.inf, math.inf):
            limits[key] = low, high
    return limits


@lru_cache
def _choices(kind: Any) -> dict[str, tuple[Any, ...]]:
    """The words of each field that is a Literal."""
    return {key: get_args(hint) for key, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}


def one_of(choices: Iterable[Any]) -> str:
    """ "one of 'a', 'b'"; a single choice stands alone."""
    options = [repr(choice) for choice in choices]
    return f"one of {', '.join(options)}" if len(options) > 1 else options[0]


def number_text(low: float = -math.inf, high: float = math.inf, *, kind: str = "a number") -> str:
    """What is expected of a number, for messages.

    >>> number_text(0, 1), number_text(1, kind="a whole number")
    ('a number from 0 to 1', 'a whole number of at least 1')
    """
    if math.isinf(high):
        return kind if math.isinf(low) else f"{kind} of at least {low:g}"
    return f"{kind} of at most {high:g}" if math.isinf(low) else f"{kind} from {low:g} to {high:g}"
