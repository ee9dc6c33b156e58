"""Who looks at a page, and whether they may act. Asked anew at each act: a sign-out ends a right at once."""

from __future__ import annotations

import streamlit as st

from kswatch.dashboard.auth.providers import Door, OpenDoor
from kswatch.dashboard.auth.sessions import Visitor
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.errors import UsageError

_door: Door | None = None


def set_door(door: Door) -> None:
    """Say by which way visitors come in; the server does so before it serves anything."""
    global _door
    _door = door


def is_guarded() -> bool:
    """Whether the pages are served behind the guard."""
    return _door is not None


def visitor() -> Visitor:
    """Who looks at this page; nobody who may act where they have signed out meanwhile."""
    found = (_door or OpenDoor()).visitor(st.context.cookies)
    return found or Visitor("nobody", may_act=False)


def name_box(key: str, label: str = "Who") -> str:
    """Draw whose name stands beside an act; it can be changed only where nobody signs in."""
    who = visitor()
    return st.text_input(label, value=who.name, max_chars=120, key=key, disabled=who.signed_in)


def acting_name(typed: str) -> str:
    """The name under which the visitor acts now.

    Args:
        typed: what they wrote; only heeded where nobody signs in.

    Raises:
        UsageError: they may not act, or gave no name.
    """
    who = visitor()
    if not who.may_act:
        raise UsageError("you may read this dashboard but not act on it; sign in with the right to act")
    name = who.name if who.signed_in else typed.strip()
    if not name:
        raise UsageError("say who you are: your name stands beside what you do")
    return name


def tell_who_looks() -> None:
    """A line with the visitor's name and right and the way out; nothing where nobody signs in."""
    who = visitor()
    if not who.signed_in:
        return
    right = "may read and act" if who.may_act else "may read"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(literal(f"{who.name}, {right}"), width="content")
        st.link_button("Sign out", "/sign-out", type="tertiary")
