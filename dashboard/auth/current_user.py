"""The user of a page and their rights, looked up anew at each action: a sign-out ends a right at once."""

from __future__ import annotations

import streamlit as st

from kswatch.dashboard.auth.providers import AuthProvider, NoAuth
from kswatch.dashboard.auth.sessions import User
from kswatch.dashboard.formatting.labels import literal
from kswatch.errors import UsageError

_provider: AuthProvider | None = None


def set_provider(provider: AuthProvider) -> None:
    """Set the authentication provider; the server does so before it serves anything."""
    global _provider
    _provider = provider


def is_protected() -> bool:
    """Whether the pages are served behind the middleware that authenticates users."""
    return _provider is not None


def get_user() -> User:
    """The user of this page; one without any right where they have signed out meanwhile."""
    user = (_provider or NoAuth()).authenticate(st.context.cookies)
    return user or User("signed out", may_act=False)


def name_box(key: str) -> str:
    """Draw the box of the user's name, which can be changed only on a dashboard without sign-in."""
    user = get_user()
    return st.text_input("Your name", value=user.name, max_chars=120, key=key, disabled=user.signed_in)


def acting_name(typed: str) -> str:
    """The name that an action is recorded under.

    Args:
        typed: the text of the name box; ignored where users sign in.

    Raises:
        UsageError: the user may not act, or gave no name.
    """
    user = get_user()
    if not user.may_act:
        raise UsageError("you may read this dashboard but not act on it; sign in with the right to act")
    name = user.name if user.signed_in else typed.strip()
    if not name:
        raise UsageError("a user name is required: it is recorded with every action")
    return name


def show_signed_in_user() -> None:
    """Draw the user's name and rights and the link to sign out; nothing on a dashboard without sign-in."""
    user = get_user()
    if not user.signed_in:
        return
    right = "may read and act" if user.may_act else "may read"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(literal(f"{user.name}, {right}"), width="content")
        st.link_button("Sign out", "/sign-out", type="tertiary")
