"""The page of gates, without a browser."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from kswatch.dashboard.views.changes_under_review import side_by_side
from kswatch.db.gates.records import KernelCode

Opened = Callable[..., AppTest]


def tables(page: AppTest) -> list[list[dict]]:
    return [table.value.to_dict("records") for table in page.dataframe]


def test_the_list_names_change_author_commits_and_verdict(seen: Opened) -> None:
    page = seen("changes")
    assert page.subheader[0].value == "3 gates, 2 regressed"
    newest, measured, static = tables(page)[0]
    assert (newest["verdict"], newest["branch"]) == ("not measured", "does-not-build")
    assert measured["commits"] == "aaaaaaaaaaaa..bbbbbbbbbbbb" and measured["author"] == "ann"
    assert static["kind"] == "static" and not isinstance(static["device"], str)


def test_a_measured_gate_shows_its_cells_worst_first_beside_the_static_findings(seen: Opened) -> None:
    page = seen("changes", gate="2")
    titles = [title.value for title in page.subheader]
    assert titles[2:] == [
        "6 cells, 3 confirmed changes",
        "3 figures of machine code changed, 2 regressed or over budget",
    ]
    _, cells, findings = tables(page)
    verdicts = ["crashed", "slower, confirmed", "faster, confirmed", "ambiguous", "same", "same"]
    assert [row["verdict"] for row in cells] == verdicts
    assert cells[1]["95 % interval"] == "+7.5 to +9.1 %" and round(cells[1]["change"], 1) == 8.3
    assert [row["state"] for row in findings] == ["over budget", "regressed", "changed"]


def test_a_revision_that_does_not_build_shows_the_compiler_s_output(seen: Opened) -> None:
    page = seen("changes", gate="3")
    assert page.code[0].value.startswith("head: it does not compile\nerror: <b>bold")
    assert page.caption[-1].value.startswith("No cell was measured")


def test_a_link_to_a_gate_that_does_not_exist_shows_the_newest(seen: Opened) -> None:
    assert "There is no gate" in seen("changes", gate="99").warning[0].value


def test_machine_code_is_aligned_around_its_differences() -> None:
    base = "\n".join(f"line {number}" for number in range(20))
    head = base.replace("line 9\n", "line nine\n").replace("line 19", "line 19\nline 20")
    lines = list(side_by_side(KernelCode("k", "sm_90", base, head)))
    assert ("line 9", "|", "line nine") in lines and ("", ">", "line 20") in lines
    assert ("line 0", " ", "line 0") not in lines and ("line 8", " ", "line 8") in lines


def test_a_run_offers_the_files_that_it_keeps(seen: Opened) -> None:
    page = seen("runs")
    (button,) = page.get("download_button")
    assert "1 file" in [fold.label for fold in page.expander]
    assert "<b>" not in button.proto.label and "0\\.0 MB" in button.proto.label
