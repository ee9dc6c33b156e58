"""kswatch.toml: each value is checked when the file is read; a refusal names key, value and range."""

import math
import re
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kswatch.configuration import TABLES, read_config
from kswatch.db.config import KeyRange
from kswatch.errors import ConfigurationError

BAD_NUMBERS = [
    "nan",
    "inf",
    "-inf",
    "-1.0",
    "-1",
    '"1"',
    "true",
    "[1.0]",
    "{}",
    "1e400",
    "99999999999999999999",
]
HINTS = {
    (name, key): hint
    for name, table in TABLES.items()
    for key, hint in get_type_hints(table, include_extras=True).items()
}
NUMBERS = [at for at, hint in HINTS.items() if any(isinstance(one, KeyRange) for one in get_args(hint))]
BOOLEANS = [at for at, hint in HINTS.items() if hint is bool]
LISTS = [at for at, hint in HINTS.items() if "tuple" in str(hint)]
TEXTS = [at for at in HINTS if at not in NUMBERS + BOOLEANS + LISTS]


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "kswatch.toml"
        path.write_text(text, encoding="utf-8")
        return read_config(path)

    return read_text


def refusal(read, text):
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_every_number_has_a_range_and_the_default_lies_in_it():
    kinds = {hint for at, hint in HINTS.items() if at not in NUMBERS}
    assert not kinds & {int, float}
    assert len(NUMBERS) > 20
    for name, key in NUMBERS:
        limits = next(one for one in get_args(HINTS[name, key]) if isinstance(one, KeyRange))
        default = getattr(TABLES[name](), key)
        assert (limits.least is None) != (limits.above is None)
        assert default <= limits.most and default >= (limits.least if limits.above is None else limits.above)


@pytest.mark.parametrize(("name", "key"), NUMBERS)
def test_no_number_is_accepted_out_of_its_range_or_of_another_type(read, name, key):
    for value in BAD_NUMBERS:
        message = refusal(read, f"[{name}]\n{key} = {value}\n")
        assert f"{name}.{key}" in message and re.search("at (most|least)|above", message), value


@pytest.mark.parametrize(("name", "key"), BOOLEANS)
def test_a_switch_is_true_or_false(read, name, key):
    for value in ("1", "0.0", '"true"', "[]"):
        assert "true or false" in refusal(read, f"[{name}]\n{key} = {value}\n")


@pytest.mark.parametrize(("name", "key"), LISTS)
def test_a_list_is_no_text_which_would_be_taken_letter_by_letter(read, name, key):
    for value in ('"abc"', "1", "[1]", "[[]]", "{}"):
        assert "a list of texts" in refusal(read, f"[{name}]\n{key} = {value}\n")


@pytest.mark.parametrize(("name", "key"), TEXTS)
def test_a_text_is_no_number(read, name, key):
    for value in ("1", "nan", "true", '["a"]', "{}"):
        assert f"{name}.{key} = " in refusal(read, f"[{name}]\n{key} = {value}\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('nightly_budget = "x"', "profiler.nightly_budget"),
        ('nightly_budget = ""', "profiler.nightly_budget"),
        (f'nightly_budget = "{"9" * 400}h"', "profiler.nightly_budget"),
        ('nightly_cron = "0 2 30 2 *"', "never due"),
        ('nightly_cron = "at night"', "profiler.nightly_cron"),
        ('nightly_cron = "0 2 * * 7"', "names"),
        ('timezone = "Mars/Base"', "Mars/Base"),
        ('timezone = "../../etc/passwd"', "zone"),
        ('gpu_suite = "nightli"', "profiler.gpu_suite: there is no suite 'nightli'"),
        ('cpu_suite = ""', "profiler.cpu_suite"),
        ('engine = "spark"', "'local' or 'dask'"),
    ],
)
def test_a_text_that_means_nothing_is_refused_before_the_night(read, line, words):
    assert words in refusal(read, f"[profiler]\n{line}\n")


def test_limits_that_contradict_each_other_are_refused(read):
    assert "ci.minimum_runs" in refusal(read, "[ci]\nminimum_runs = 5\ncomparable_runs = 4\n")


def test_a_proxy_that_is_no_address_is_refused(read):
    assert "trusted_proxies" in refusal(read, '[dashboard]\ntrusted_proxies = ["proxy.example"]\n')


def test_the_store_s_address_is_not_repeated_in_a_refusal(read):
    assert "secret" not in refusal(read, '[db]\nurl = ["postgresql://me:secret@host/name"]\n')


def test_integers_pass_as_numbers_and_lists_as_tuples(read):
    tables = read('[ci]\nnoise_factor = 4\n[profiler]\ndevices = ["cpu"]\n[dashboard]\nport = 80\n')
    assert tables["ci"].noise_factor == 4.0 and isinstance(tables["ci"].noise_factor, float)
    assert tables["profiler"].devices == ("cpu",)
    assert tables["dashboard"].port == 80


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = " + b"[" * 5000, b"\0", b"[ci]\n[ci]\n", b"[ci\n"])
def test_a_file_that_is_no_toml_is_refused_in_one_sentence(tmp_path, content):
    (tmp_path / "kswatch.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be read as TOML"):
        read_config(tmp_path / "kswatch.toml")


def test_a_path_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="configuration file"):
        read_config(tmp_path / ("x" * 5000))
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_config(tmp_path / "a\0b", must_exist=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.sampled_from(sorted(HINTS)), st.floats() | st.integers() | st.booleans())
def test_a_table_that_is_accepted_holds_only_finite_numbers_of_the_range(read, at, value):
    name, key = at
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    try:
        table = read(f"[{name}]\n{key} = {text}\n")[name]
    except ConfigurationError:
        return
    for field in fields(table):
        found = getattr(table, field.name)
        assert not isinstance(found, float) or math.isfinite(found)
