"""Any text that came from commits, files or people stays text in each place that it is shown."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from kswatch.ci.formats.escape import (
    annotation,
    annotation_property,
    annotation_text,
    markdown,
    plain,
    xml_text,
)
from kswatch.ci.formats.junit import Case, junit_xml
from kswatch.db.cli.terminal import escape
from tests.ci.formats.junit_schema import assert_junit

ANYTHING = st.text(st.characters(exclude_categories=("Cs",)))
PARTS = (
    *("|", "`", "*", "<script>", "&lt;", "]]>", "::error::", "\r", "\n", "\x1b[31m", "@ops", "http://x"),
    *("www.x.y", "\\", "%0A", "\x00", "\u202e", "#1", "![a](b)", " "),
)
NASTY = st.lists(st.sampled_from(PARTS), max_size=8).map("".join)
TEXT = st.one_of(ANYTHING, NASTY)


@given(TEXT)
def test_plain_text_is_one_line_that_steers_nothing(text):
    shown = plain(text)
    assert shown.isprintable() and "\n" not in shown and "\x1b" not in shown


@given(TEXT)
def test_markdown_holds_no_markup_that_was_not_ours(text):
    shown = markdown(text).replace("<!-- -->", "")
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|~#!]", shown)
    assert "\n" not in shown
    assert not re.search(r"@\w|://|www\.", markdown(text))


@given(TEXT)
def test_unescaped_markdown_is_the_original_text(text):
    shown = markdown(text).replace("<!-- -->", "").replace("&amp;", "&")
    assert re.sub(r"\\([\\`*_\[\]<>|~#!$%^])", r"\1", shown) == plain(text)


def visible(text):
    """What a terminal may show of the text: control characters by their code, but for the ends of lines."""
    return "".join(letter if letter in "\r\n" else escape(letter) for letter in text)


@given(TEXT, TEXT)
def test_an_annotation_is_one_line_with_one_title(title, message):
    line = annotation("error", title, message)
    assert "\n" not in line and "\r" not in line
    head, body = line.removeprefix("::error title=").split("::", 1)
    assert unescaped(head) == visible(title) and unescaped(body) == visible(message)
    assert head == annotation_property(title) and body == annotation_text(message)


def unescaped(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, character)
    return text


@given(TEXT, TEXT, TEXT)
def test_junit_stays_well_formed_for_any_text(name, message, system_out):
    cases = [
        Case("kswatch", f"a {name}", "failure", message),
        Case("kswatch", f"b {name}", "skipped", message),
    ]
    document = junit_xml("kswatch gate", cases, facts={"head": name}, system_out=system_out)
    assert_junit(document, tests=2, failures=1, skipped=1)
    root = ElementTree.fromstring(document)
    assert root.find("testsuite/testcase").get("name") == plain(f"a {name}")
    assert root.findtext("testsuite/system-out") == xml_text(system_out).replace("\r\n", "\n").replace(
        "\r", "\n"
    )
