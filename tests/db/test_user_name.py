from __future__ import annotations

import getpass

import pytest

from kswatch.db.user_name import user_name


def test_the_login_name_is_the_users_name(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    assert user_name() == "ada"


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 4711"), OSError("No username set")])
def test_a_user_id_without_a_passwd_entry_gets_the_default_name(monkeypatch, error):
    def fail() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", fail)
    assert user_name() == "unknown user"
    assert user_name("") == ""
