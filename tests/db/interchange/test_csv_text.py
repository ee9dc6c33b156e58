"""Texts that a spreadsheet would execute, and their way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kswatch.db.interchange.csv_text import guard, unguard

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|calc", "%x", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("text", [*FORMULAS, "'=1", "''=1"])
def test_a_formula_begins_with_an_apostrophe_and_comes_back(text):
    assert guard(text).startswith("'")
    assert unguard(guard(text)) == text


@pytest.mark.parametrize("text", ["", "NVIDIA H200", "1=1", "'quoted'", "it's", "a-b"])
def test_any_other_text_is_written_as_it_is(text):
    assert guard(text) == unguard(text) == text


@given(st.text() | st.text(alphabet="'=+-@a"))
def test_every_text_comes_back_and_none_begins_a_formula(text):
    assert unguard(guard(text)) == text
    assert not guard(text).startswith(("=", "+", "-", "@", "\t", "\r"))
