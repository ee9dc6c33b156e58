"""Choices kept in the URL, so that a link reopens the same view.

Each widget is set from the URL before it is drawn, and its changes are written to it at the end of the page.
A choice on one page is kept for the other pages of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import streamlit as st

from kswatch.dashboard.formatting.labels import literal
from kswatch.db.decoding import whole_number

T = TypeVar("T")

_KEPT, _CHANGED, _DEFAULTS = "kept_choices", "changed_choices", "default_choices"

MOST_CHARACTERS = 80
"""Of a requested value that is shown."""


def requested(name: str) -> str | None:
    """The value of a parameter in the URL, else on an earlier page of this session."""
    return _choices(_CHANGED).get(name) or st.query_params.get(name, _choices(_KEPT).get(name))


def requested_number(name: str) -> int | None:
    """The number that a parameter holds, as `requested`; None where no run, alert or gate can have it."""
    return whole_number(requested(name) or "")


def remember(name: str, value: str) -> None:
    """Keep a choice for the other pages, and for the URL, which `one_url` writes."""
    _choices(_KEPT)[name] = _choices(_CHANGED)[name] = value


def forget(name: str) -> None:
    """Drop a choice of earlier pages, so that a default takes its place."""
    if name not in _choices(_CHANGED):
        _choices(_KEPT).pop(name, None)


def _remember_default(name: str, value: str) -> None:
    """Keep a default for the other pages, and for the URL of a page with other choices."""
    _choices(_KEPT)[name] = _choices(_DEFAULTS)[name] = value


@contextmanager
def one_url() -> Iterator[None]:
    """Write the choices of a page to its URL at its end, all at once, where the URL lacks or denies one.

    Defaults that it lacks are no reason: a browser adds an entry to its history for each write, which its
    Back then returns to, and a page from the menu or by a link should have one.
    """
    try:
        yield
        chosen = _choices(_DEFAULTS) | _choices(_CHANGED)
        given = {name: st.query_params.get(name) for name in chosen}
        lacks = any(given[name] is None for name in _choices(_CHANGED))
        if lacks or any(value not in (None, chosen[name]) for name, value in given.items()):
            st.query_params.update(chosen)
    finally:
        _choices(_CHANGED).clear()
        _choices(_DEFAULTS).clear()


def _choices(which: str) -> dict[str, str]:
    return st.session_state.setdefault(which, {})


def segments(label: str, name: str, options: Mapping[str, str], default: str = "") -> str:
    """A segmented control whose choice, a key of `options`, is the URL's parameter `name`."""
    default = default or next(iter(options))
    text = requested(name)
    if text is None or text not in options:
        text = default
        _warn_of_unknown(label, name, options[text])
    bound = _bound(name, text, default)
    st.segmented_control(
        label,
        list(options),
        required=True,
        format_func=options.__getitem__,
        label_visibility="collapsed",
        **bound,
    )
    return text


def select(
    label: str,
    name: str,
    options: Sequence[T],
    default: T | None = None,
    show: Callable[[T], str] = str,
    as_text: Callable[[T], str] = lambda option: str(getattr(option, "id", option)),
    width: int | Literal["stretch"] = "stretch",
) -> T:
    """A select box whose choice is the URL's parameter `name`; an unknown value selects the default.

    Args:
        label: above the box.
        name: of the parameter.
        options: at least one.
        default: the first option where None.
        show: the text of an option on the page.
        as_text: the text of an option in the URL; by default its id, or itself where it has none.
        width: of the box, in pixels or `stretch`.
    """
    by_text = {as_text(option): option for option in options}
    usual = as_text(options[0] if default is None else default)
    text = requested(name)
    if text not in by_text:
        text = usual
        _warn_of_unknown(label, name, show(by_text[text]))
    bound = _bound(name, text, usual)
    st.selectbox(label, [*by_text], format_func=lambda chosen: show(by_text[chosen]), width=width, **bound)
    return by_text[text]


def _warn_of_unknown(label: str, name: str, shown: str) -> None:
    """Draw what the URL asks for in vain, as a link to another store's run may, and what is shown instead."""
    given = st.query_params.get(name)
    if given is not None:
        text = f"There is no {label.lower()} “{given[:MOST_CHARACTERS]}” here; shown is {shown}."
        st.warning(literal(text), icon=":material/link_off:", width="stretch")


def _bound(name: str, text: str, default: str) -> dict[str, Any]:
    """The options of a widget that shows the text and writes a change to the URL's parameter `name`."""
    key = f"choice_{name}"
    st.session_state[key] = text
    (remember if text != default else _remember_default)(name, text)
    return {"key": key, "on_change": _changed, "args": (name, key)}


def _changed(name: str, key: str) -> None:
    remember(name, st.session_state[key])
