"""Options that several commands share."""

from __future__ import annotations

import pytest

from edgevid.cli.options import check_unit, split_names
from edgevid.errors import InputError


def test_names_are_separated_by_commas() -> None:
    assert split_names(" person, car ,,traffic light") == ("person", "car", "traffic light")
    assert split_names(" , ") == split_names("") == ()


def test_a_unit_is_one_that_the_overlay_draws() -> None:
    for unit in ("km/h", "mph", "m/s"):
        check_unit(unit)
    with pytest.raises(InputError, match=r"unit: expected one of km/h, mph, m/s, got 'knots'"):
        check_unit("knots")
