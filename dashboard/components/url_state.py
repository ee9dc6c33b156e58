"""Choices kept in the URL, so that a link reopens the same view.

The URL is the single source: each widget is set from it before it is drawn, and writes to it when it
changes. A choice on one page is kept for the other pages of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import streamlit as st

from kswatch.dashboard.formatting.labels import literal

T = TypeVar("T")

_KEPT = "kept_choices"

MOST_CHARACTERS = 80
"""Of a requested value that is shown."""


def requested(name: str) -> str | None:
    """The value of a parameter in the URL, else on an earlier page of this session."""
    kept: dict[str, str] = st.session_state.setdefault(_KEPT, {})
    return st.query_params.get(name, kept.get(name))


def remember(name: str, value: str) -> None:
    """Write a choice to the URL and keep it for the other pages."""
    st.session_state.setdefault(_KEPT, {})[name] = value
    if st.query_params.get(name) != value:
        st.query_params[name] = value


def segments(label: str, name: str, options: Mapping[str, str]) -> str:
    """A segmented control whose choice, a key of `options`, is the URL's parameter `name`."""
    text = requested(name)
    if text is None or text not in options:
        text = next(iter(options))
        _warn_of_unknown(label, name, options[text])
    bound = _bound(name, text)
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
    text = requested(name)
    if text not in by_text:
        text = as_text(options[0] if default is None else default)
        _warn_of_unknown(label, name, show(by_text[text]))
    bound = _bound(name, text)
    st.selectbox(label, [*by_text], format_func=lambda chosen: show(by_text[chosen]), width=width, **bound)
    return by_text[text]


def _warn_of_unknown(label: str, name: str, shown: str) -> None:
    """Draw what the URL asks for in vain, as a link to another store's run may, and what is shown instead."""
    given = st.query_params.get(name)
    if given is not None:
        text = f"There is no {label.lower()} “{given[:MOST_CHARACTERS]}” here; shown is {shown}."
        st.warning(literal(text), icon=":material/link_off:", width="stretch")


def _bound(name: str, text: str) -> dict[str, Any]:
    """The options of a widget that shows the text and writes a change to the URL's parameter `name`."""
    key = f"choice_{name}"
    st.session_state[key] = text
    remember(name, text)
    return {"key": key, "on_change": _changed, "args": (name, key)}


def _changed(name: str, key: str) -> None:
    remember(name, st.session_state[key])
