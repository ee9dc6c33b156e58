"""A gate's result as text for a terminal, rows for scripts, Markdown, JUnit XML and GitHub annotations."""

from __future__ import annotations

from collections import Counter

from kswatch.ci.formats.escape import annotation, markdown, markdown_table, plain
from kswatch.ci.formats.junit import Case, junit_xml
from kswatch.ci.gate.sequential import GateResult
from kswatch.db.gates.records import CellVerdict

LISTED = 20
CELL_HEADER = ("verdict", "change", "implementation", "problem", "base ms", "head ms", "reason")
NOTHING_CHANGED = (
    "nothing that affects the kernels changed, so nothing was measured; --force measures anyway (an A/A test)"
)


def gate_text(result: GateResult) -> str:
    """The whole result for a terminal."""
    lines = [f"{commits(result)}: {gate_headline(result)}"]
    lines += [f"  note: {plain(note)}" for note in result.notes]
    if result.broken:
        lines += [f"  | {plain(line)}" for line in result.broken.log.splitlines()]
    shown = _notable(result)
    lines += [f"  {_line(one)}" for one in shown[:LISTED]]
    if len(shown) > LISTED:
        lines.append(f"  and {len(shown) - LISTED} more; --json has them all")
    return "\n".join(lines)


def gate_headline(result: GateResult) -> str:
    """The outcome in one line."""
    if result.broken:
        return f"{result.broken.side} cannot be measured: {plain(result.broken.reason)}"
    if result.outcome == "nothing changed":
        return NOTHING_CHANGED
    if result.outcome == "nothing measured":
        reasons = Counter(one.reason for one in result.verdicts)
        return f"could not measure a single cell: {plain(reasons.most_common(1)[0][0] or 'no reason given')}"
    word = "REGRESSED" if result.regressions else "no confirmed regression"
    by_verdict = Counter(one.verdict or "not compared" for one in result.verdicts)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in by_verdict.most_common())
    return f"{word}; {len(result.verdicts)} cells: {counts} in {result.seconds:.0f} s on {result.device}"


def commits(result: GateResult) -> str:
    """Both commits, shortened."""
    return f"{result.base.commit[:12]} -> {result.head.commit[:12]}"


def _notable(result: GateResult) -> list[CellVerdict]:
    """Regressions, then improvements, ambiguous and not compared cells; empty where a revision is broken."""
    if result.broken:
        return []
    rest = [one for one in result.verdicts if not one.regressed and one.verdict not in (None, "same")]
    rest += [one for one in result.verdicts if not one.regressed and one.verdict is None]
    return result.regressions + sorted(rest, key=lambda one: (one.verdict != "faster", -abs(one.change or 0)))


def _line(one: CellVerdict) -> str:
    reason = f" ({plain(one.reason)})" if one.reason else ""
    return f"{_word(one)}{_change_text(one)} {one.implementation} {one.problem.words}{reason}"


def _word(one: CellVerdict) -> str:
    if one.verdict is None:
        return str(one.head_status if one.regressed else "not compared")
    return one.verdict


def _change_text(one: CellVerdict) -> str:
    if one.change is None or one.change_low is None or one.change_high is None:
        return ""
    return f" {100 * one.change:+.1f} % [{100 * one.change_low:+.1f}, {100 * one.change_high:+.1f}]"


def gate_rows(result: GateResult) -> list[dict[str, object]]:
    """One object for each cell; a single one with the reason where a revision cannot be measured."""
    common = {
        "base": result.base.commit,
        "head": result.head.commit,
        "device": result.device or None,
        "outcome": result.outcome,
    }
    if result.broken:
        why = {name: getattr(result.broken, name) for name in ("side", "commit", "reason", "log")}
        return [common | {"verdict": None, "regressed": False} | why]
    rows = []
    for one in result.verdicts:
        values = {name: value for name, value in vars(one).items() if name != "problem"}
        judged = {"metric": "latency_ms", "regressed": one.regressed}
        rows.append(common | one.problem.fields | judged | values)
    return rows


def gate_markdown(result: GateResult) -> str:
    """A Markdown page; text from commits, compilers and devices is escaped."""
    parts = ["# kswatch gate", f"`{commits(result)}`: {markdown(gate_headline(result))}"]
    sides = (("base", result.base), ("head", result.head))
    parts += [f"{side}: {markdown(one.subject)}" for side, one in sides if one.subject]
    parts += [f"- {markdown(note)}" for note in result.notes]
    if result.broken and result.broken.log:
        parts.append("\n".join(f"> {markdown(line)}  " for line in result.broken.log.splitlines()))
    shown = _notable(result)
    if shown:
        parts.append(markdown_table(CELL_HEADER, map(cell_texts, shown[:LISTED])))
    if len(shown) > LISTED:
        parts.append(f"and {len(shown) - LISTED} more")
    return "\n\n".join(parts) + "\n"


def cell_texts(one: CellVerdict) -> tuple[str, ...]:
    """One cell under `CELL_HEADER`."""
    times = ["" if time is None else f"{time:.4g}" for time in (one.base_ms, one.head_ms)]
    return (
        _word(one),
        _change_text(one).strip(),
        one.implementation,
        one.problem.words,
        *times,
        one.reason or "",
    )


def gate_junit(result: GateResult) -> str:
    """JUnit XML with one case for each cell."""
    facts = {"base": result.base.commit, "head": result.head.commit, "device": result.device}
    if result.broken:
        cases = [Case("kswatch.gate", "both revisions build", "error", gate_text(result))]
    else:
        cases = [_case(one) for one in result.verdicts]
    return junit_xml("kswatch gate", cases, seconds=result.seconds, facts=facts, system_out=gate_text(result))


def _case(one: CellVerdict) -> Case:
    group, name = f"kswatch.gate.{one.implementation}", one.problem.words
    if one.regressed:
        return Case(group, name, "failure", _line(one))
    if one.verdict is None or one.verdict == "ambiguous":
        return Case(group, name, "skipped", _line(one))
    return Case(group, name)


def gate_annotations(result: GateResult) -> str:
    """Workflow commands: errors for regressions and broken revisions, a warning for ambiguous cells."""
    title = "kswatch gate"
    if result.exit_code == 3:
        return annotation("error", title, gate_headline(result))
    lines = [annotation("error", title, _line(one)) for one in result.regressions[:LISTED]]
    unclear = sum(one.verdict == "ambiguous" for one in result.verdicts)
    if unclear:
        lines.append(annotation("warning", title, f"{unclear} cells are still ambiguous after the budget"))
    return "\n".join(lines)
