"""Which URLs are stores, and that no message, log or command shows a password of one."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from kswatch.db.backend.store_url import HIDDEN, hide_secrets, parse_store_url, shown
from kswatch.db.store import Store
from kswatch.errors import ConfigurationError, KswatchError

SECRET = "s3cr3t"
URLS = [
    f"postgresql://me:{SECRET}@127.0.0.1:1/none",
    f"postgres://me:{SECRET}@127.0.0.1:1/none",
    f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/none",
    f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:1/none",
    f"postgresql://127.0.0.1:1/none?user=me&password={SECRET}",
    f"postgresql://127.0.0.1:1/none?sslmode=disable&sslpassword={SECRET}",
    f"postgresql://127.0.0.1:1/none?passfile={SECRET}&options={SECRET}",
    f"postgresql://127.0.0.1:1/none?pasword={SECRET}",
    f"postgresql://me:p@{SECRET}@127.0.0.1:1/none",
    f"postgresql://me:{SECRET}@x@127.0.0.1:1/none",
    f"postgresql://me:{SECRET}/x@127.0.0.1:1/none",
    f"postgresql://me:x/{SECRET}@127.0.0.1:1/none",
    f"postgresql://me:x#{SECRET}@127.0.0.1:1/none",
    f"postgresql://me:x?{SECRET}@127.0.0.1:1/none",
    f"postgresql://me:{SECRET}%zz@127.0.0.1:1/none",
    f"postgresql://127.0.0.1:{SECRET}/none",
    f"postgresql://me:127.0.0.1:{SECRET}/none",
    f"postgresql:/me:{SECRET}@127.0.0.1/none",
    f"postgresql//me:{SECRET}@127.0.0.1/none",
    f"postgressql://me:{SECRET}@127.0.0.1/none",
    f"Postgres://me:{SECRET}@127.0.0.1/none",
    f"mysql://me:{SECRET}@127.0.0.1/none",
    f"mysql+{SECRET}://me@127.0.0.1/none",
    f"sqlite://me:{SECRET}@127.0.0.1/none",
    f"me:{SECRET}@127.0.0.1/none",
    f"host=127.0.0.1 port=1 password={SECRET}",
    f"postgresql://me:{SECRET}@127.0.0.1:99999/none",
    f"postgresql://me:{SECRET}@[::1/none",
    f" postgresql://me:{SECRET}@127.0.0.1:1/none ",
]


@pytest.mark.parametrize("url", URLS)
def test_no_error_shows_a_password(url):
    with pytest.raises(KswatchError) as raised:
        Store.open(url).close()
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "command"), [(URLS[1], ["doctor"]), (URLS[8], ["db", "check"]), (URLS[1], ["runs"])]
)
def test_no_command_shows_a_password(url, command, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "kswatch", *command],
        env={**os.environ, "KSWATCH_DATABASE_URL": url},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (0, 1, 2, 3), done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["sqlite:///a?b/k.db", "sqlite:///a?", "sqlite:////srv/why?/k.db"])
def test_a_question_mark_in_a_path_is_no_silent_end_of_it(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="write . as %3F"):
        Store.open(url)
    assert list(tmp_path.iterdir()) == []


def test_the_scheme_that_hosts_hand_out_is_accepted():
    assert (
        shown(parse_store_url("postgres://me:x@db.example/kswatch")) == "postgresql://me@db.example/kswatch"
    )


def test_a_url_is_shown_with_what_identifies_it():
    url = "postgresql://me:x@db.example:5433/kswatch?sslmode=require"
    assert shown(parse_store_url(url)) == "postgresql://me@db.example:5433/kswatch"
    assert shown(parse_store_url("postgresql://[::1]/kswatch")) == "postgresql://::1/kswatch"
    assert shown(parse_store_url("sqlite:////data/kswatch.db")) == "/data/kswatch.db"


def test_what_may_be_a_part_of_a_password_is_hidden():
    assert HIDDEN in shown(make_url("postgresql://me:p@ss@host/none"))


@pytest.mark.parametrize("text", ["kswatch.db", "/data/kswatch.db", "nonsense"])
def test_a_plain_name_in_place_of_a_url_is_repeated(text):
    with pytest.raises(ConfigurationError, match=repr(text)):
        parse_store_url(text)


def test_a_message_of_the_driver_is_shown_without_the_secrets():
    url = make_url("postgresql://me:pass@word@host/none?sslpassword=hush")
    message = hide_secrets("failed to resolve host 'word@host': hush, pass", url)
    assert "hush" not in message and "word@host" not in message and " pass" not in message


@given(st.text(max_size=60))
def test_any_text_is_a_store_s_url_or_a_configuration_error(text):
    for url in (text, f"postgresql://{text}", f"postgresql://me:{text}@host/name", f"sqlite://{text}"):
        with suppress(ConfigurationError):
            assert isinstance(shown(parse_store_url(url)), str)
