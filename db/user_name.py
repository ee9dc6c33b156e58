"""The name of the user whose process this is: who excludes a run, requests one or acts on an alert."""

from __future__ import annotations


def user_name(default: str = "unknown user") -> str:
    """The login name; `default` where the user id has no passwd entry, as in many containers."""
    from getpass import getuser

    try:
        return getuser()
    except (KeyError, OSError):
        return default
