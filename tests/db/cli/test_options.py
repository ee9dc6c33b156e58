"""Options that several commands share."""

from __future__ import annotations

from typing import get_args

from kswatch.db.cli.options import PrecisionsOption
from kswatch.db.records import PRECISIONS


def test_the_help_names_every_precision() -> None:
    option = get_args(PrecisionsOption)[1]
    assert option.help == f"{', '.join(PRECISIONS)}; repeatable."
