"""Sessions whose texts every database stores: SQLite takes texts of any length, PostgreSQL refuses the row.

What is written row by row comes from users and from messages of errors. Names must fit; longer texts are
shortened, so that no run or request is lost because its reason was long.
"""

from __future__ import annotations

import re
from functools import cache

from sqlalchemy import String, event, inspect
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.session import UOWTransaction

from kswatch.errors import UsageError

SHORTEST_PROSE = 500
"""Characters: a column of this length or more holds prose, a shorter one names something."""
_NOT_STORED = re.compile("[\0\ud800-\udfff]")
"""NUL, and halves of characters, which stand for bytes that are not UTF-8."""


class CheckedSession(Session):
    """A session that checks the texts of its objects before they are written."""


@event.listens_for(CheckedSession, "before_flush")
def _check_texts(session: Session, _context: UOWTransaction, _instances: object) -> None:
    for found in (*session.new, *session.dirty):
        state = inspect(found)
        values = state.dict
        for name, length in _text_columns(state.mapper):
            text = values.get(name)
            if isinstance(text, str) and (len(text) > length or _NOT_STORED.search(text)):
                setattr(found, name, _stored(name, text, length))


@cache
def _text_columns(mapper: Mapper) -> tuple[tuple[str, int], ...]:
    """The texts of a table with the lengths of their columns."""
    texts = [column for column in mapper.columns if isinstance(column.type, String)]
    lengths = {column.key: getattr(column.type, "length", None) for column in texts}
    return tuple((name, length) for name, length in lengths.items() if length)


def _stored(name: str, text: str, length: int) -> str:
    """The text as it is stored.

    Raises:
        UsageError: it is a name that no database stores, or too long for one.
    """
    if length >= SHORTEST_PROSE:
        text = _NOT_STORED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
        return text if len(text) <= length else f"{text[: length - 3]}..."
    label = name.replace("_", " ")
    if len(text) > length:
        raise UsageError(f"{label} has {len(text):,} characters, more than {length}; shorten it")
    raise UsageError(f"{label} {ascii(text)} is not UTF-8 text, so no store holds it; write it as UTF-8")
