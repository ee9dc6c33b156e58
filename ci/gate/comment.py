"""The comment of a gate: empty unless something changed, was lost, or could not be measured."""

from __future__ import annotations

from kswatch.ci.formats.comment import comment
from kswatch.ci.formats.escape import markdown
from kswatch.ci.gate.report import CELL_HEADER, cell_texts, commits, gate_headline
from kswatch.ci.gate.sequential import GateResult
from kswatch.ci.gate.static import CodeChange, StaticResult
from kswatch.ci.gate.static_report import change_text, fault_text, static_headline
from kswatch.db.gates.records import CellVerdict
from kswatch.db.records import COMPARABLE

LOG_LINES = 100


def gate_comment(result: GateResult, link: str = "") -> str:
    """The comment of a measured gate, with a link to its page; empty where it is calm."""
    rows = _reported(result)
    if result.exit_code == 0 and not rows:
        return ""
    headline = f"**kswatch gate** `{commits(result)}`: {markdown(gate_headline(result))}"
    notes = [f"- {markdown(note)}" for note in result.notes]
    log = result.broken.log.splitlines()[:LOG_LINES] if result.broken else []
    folded = "\n".join(f"> {markdown(line)}  " for line in log)
    return comment(headline, CELL_HEADER, list(map(cell_texts, rows)), notes=notes, folded=folded, link=link)


def _reported(result: GateResult) -> list[CellVerdict]:
    """Regressions, then what became faster, then what could not be measured; all cells if none is decided.

    A cell that stays ambiguous among decided ones is no finding: on a busy machine every change has some.
    """
    if result.broken:
        return []
    faster = [one for one in result.verdicts if one.confirmed and one.verdict == "faster"]
    missing_cells = [one for one in result.verdicts if _lacks_comparison(one)]
    compared = [one for one in result.verdicts if one.verdict is not None]
    if compared and all(one.verdict == "ambiguous" for one in compared):
        missing_cells += compared
    return result.regressions + sorted(faster, key=lambda one: one.change or 0.0) + missing_cells


def _lacks_comparison(one: CellVerdict) -> bool:
    """Whether no comparison was possible; a cell that the base cannot compute either is none."""
    was_expected = one.base_status is None or one.base_status in COMPARABLE
    return one.verdict is None and not one.regressed and was_expected


def static_comment(result: StaticResult, link: str = "") -> str:
    """The comment of a static gate; empty where no figure changed and none is over its budget."""
    if not (result.faults or result.changes or result.note):
        return ""
    rows = [("over budget", fault_text(one)) for one in result.faults]
    rows += [("regressed" if one.regressed else "changed", change_text(one)) for one in _sorted(result)]
    headline = f"**kswatch gate --static** {markdown(static_headline(result))}"
    notes = [f"- {markdown(result.note)}"] if result.note else []
    return comment(headline, ("", "machine code"), rows, notes=notes, link=link)


def _sorted(result: StaticResult) -> list[CodeChange]:
    return sorted(result.changes, key=lambda one: not one.regressed)
