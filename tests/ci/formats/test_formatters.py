from __future__ import annotations

import json

import pytest

from kswatch.ci.check import CheckResult, judge
from kswatch.ci.check_report import NOTHING, check_rows, markdown_report, text_report, workflow_commands
from kswatch.ci.config import CiConfig
from kswatch.ci.formats.escape import annotation_property, annotation_text, markdown, plain
from kswatch.ci.formats.formatter import LARGEST_SUMMARY_BYTES, append_step_summary
from kswatch.db.json_text import to_json_text
from kswatch.db.records import DeviceRecord
from kswatch.db.store import Store
from kswatch.errors import ConfigurationError
from tests.ci.nights import PROBLEMS, START, Nights

NASTY = "evil | `x` <script>alert(1)</script> [a](http://b) @ops\n::error::owned\r\x1b[31m*b*"


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A night on a device of ill-chosen name: fused is slower, and incorrect on one problem."""
    device = DeviceRecord(uuid="GPU-2", kind="cuda", model=NASTY)
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('nasty') / 'kswatch.db'}")
    nights = Nights(store, device=device)
    nights.quiet(6)
    nights.night({"fused": 1.2}, statuses={("fused", PROBLEMS[0]): "incorrect"})
    yield judge(store, None, CiConfig(), now=START)
    store.close()


def test_the_text_report_lists_changes_and_counts_the_rest(judged):
    text = text_report(judged, rows=3)
    assert "REGRESSED" in text
    assert "alert 1 open, confirmed, new: opened: fused slower: 5 problems" in text
    assert "fused is incorrect on" in text
    assert "and 7 more" in text


def test_the_text_report_cannot_be_steered_by_a_name(judged):
    text = text_report(judged, rows=3)
    assert "\x1b" not in text and "\r" not in text
    assert not any(line.strip().startswith("::") for line in text.splitlines())


def test_the_markdown_report_escapes_names(judged):
    page = markdown_report(judged, rows=50)
    assert "<script>" not in page
    assert "@ops" not in page and "http://" not in page
    assert "\\`x\\`" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    cells = {line.replace("\\|", "").count("|") for line in rows}
    assert cells == {4, 9}  # a table of alerts, a table of verdicts


def test_annotations_are_one_escaped_line_each(judged):
    lines = workflow_commands(judged).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("::error title=kswatch alert ") for line in lines)
    assert all("%0A" not in line.split("::")[1] for line in lines)
    assert "+20" in lines[0] + lines[1] and "%25" in lines[0] + lines[1]


def test_annotation_escapes_are_those_of_the_workflow_command_syntax():
    assert annotation_text("5 % of\r\na: b, c") == "5 %25 of%0D%0Aa: b, c"
    assert annotation_property("5 % of\na: b, c") == "5 %25 of%0Aa%3A b%2C c"


def test_plain_text_is_one_line_without_control_characters():
    assert plain("a\n b\t\x07c\x1b[0m‮") == "a b c[0m"


def test_markdown_shows_text_as_it_is():
    assert markdown("a|b *c* _d_ #1 <i>") == r"a\|b \*c\* \_d\_ \#<!-- -->1 \<i\>"
    assert markdown("@ann see www.x.org") == "@<!-- -->ann see www<!-- -->.x.org"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fixes #12, GH-7", r"fixes \#<!-- -->12, GH<!-- -->-7"),
        ("a/b#4 C#", r"a/b\#<!-- -->4 C\#"),
        ("!3 ~bug %1 ^x +5.0 %", r"\!3 \~bug \%1 \^x +5.0 %"),
        ("$x$ costs $5", r"\$x\$ costs \$5"),
        ("@ops ops@x.org", "@<!-- -->ops ops@<!-- -->x.org"),
        ("https://x.org WWW.x.org", "https:<!-- -->//x.org WWW<!-- -->.x.org"),
        ("a\u202eb\n/close", "ab /close"),
    ],
)
def test_markdown_makes_no_reference_formula_link_or_mention(text, shown):
    """GitHub refers to a number behind a backslash too: it looks after Markdown has taken that."""
    assert markdown(text) == shown


def test_a_provisional_alert_is_a_warning_and_a_faster_one_a_notice(nights, store):
    nights.quiet(8)
    nights.night({"fused": 0.8})
    found = judge(store, None, CiConfig(), now=START)
    assert workflow_commands(found) == ""  # accepted as the new level at once: reported and notified
    nights.night({"fused": 0.8, "bmm": 1.5})
    found = judge(store, None, CiConfig(), now=START)
    assert workflow_commands(found).startswith("::warning title=kswatch alert 2::baseline bmm slower")


def test_the_step_summary_is_appended_where_the_variable_is_set(tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    append_step_summary("# kswatch check\n")
    assert summary.read_text() == "before\n# kswatch check\n"


def test_a_step_summary_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "folder"))
    with pytest.raises(ConfigurationError, match="GITHUB_STEP_SUMMARY"):
        append_step_summary("x")


def test_json_rows_have_the_words_of_the_glossary(judged):
    rows = json.loads(to_json_text(check_rows(judged)))
    incorrect = [row for row in rows if row["status"] == "incorrect"]
    assert [(row["verdict"], row["cause"], row["news"]) for row in incorrect] == [
        (None, "incorrect", "opened")
    ]
    slower = [row for row in rows if row["verdict"] == "slower"]
    words = {
        "device",
        "run",
        "pattern",
        "batch",
        "precision",
        "layout",
        "implementation",
        "metric",
        "verdict",
    }
    assert words | {"change", "change_low", "change_high", "cause", "confirmed", "alert"} <= slower[0].keys()
    assert slower[0]["change_low"] < slower[0]["change"] < slower[0]["change_high"]


def test_a_report_of_nothing_names_the_next_command():
    assert text_report(CheckResult([]), 5) == NOTHING
    assert NOTHING in markdown_report(CheckResult([]), 5)


def test_a_step_summary_is_cut_at_its_size_in_bytes(tmp_path, monkeypatch):
    path = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    append_step_summary("# é\n" + "ä" * 600_000 + "\n" + "ä" * 600_000)
    text = path.read_bytes().decode()
    assert len(text.encode()) <= LARGEST_SUMMARY_BYTES and text.startswith("# é\n")
    assert text.endswith("the log has the whole result.\n")
