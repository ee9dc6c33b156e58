"""The page of kswatch.toml: every key with its type, range, unit and default, from the dataclasses."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from kswatch.configuration import TABLES
from kswatch.db.config import range_text
from reference_pages.tables import code, markdown_table

KINDS = {int: "integer", float: "number", bool: "true or false", str: "text"}


def page() -> str:
    """The page as Markdown."""
    head = """# Configuration

Written from the classes that read the file. All keys of `kswatch.toml` may be left out; an unknown key is an
error that names it. [The example file](../../kswatch.toml) has every key at its default, with a comment.
`KSWATCH_CONFIG` or `--config` selects another file, `KSWATCH_DATABASE_URL` another store. Secrets belong in
the environment ([their names](environment.md)).
"""
    return "\n".join([head, *(_section(name, table) for name, table in TABLES.items())])


def _section(name: str, table: type) -> str:
    meanings = key_meanings(table)
    hints = get_type_hints(table, include_extras=True)
    rows = [
        (code(key.name), _kind(hints[key.name]), range_text(table, key.name).strip(), _default(key), text)
        for key in fields(table)
        for text in [meanings.get(key.name, "")]
    ]
    about = (inspect.getdoc(table) or "").partition("\n")[0]
    return f"## [{name}]\n\n{about}\n\n{markdown_table(HEAD, rows)}"


HEAD = ("key", "type", "range and unit", "default", "meaning")


def _kind(hint: Any) -> str:  # noqa: ANN401  (a type)
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return " or ".join(code(f'"{choice}"') for choice in get_args(hint))
    return KINDS.get(hint, "list of texts")


def _default(key: Field[Any]) -> str:
    value = key.default if key.default is not MISSING else None
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, str):
        return code(f'"{value}"')
    return code(list(value) if isinstance(value, tuple) else value)


def key_meanings(table: type) -> dict[str, str]:
    """The docstring below each field, also of the classes that a table inherits from."""
    found: dict[str, str] = {}
    for kind in reversed(table.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
        for field, text in zip(body, body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(text.value))
    return found
