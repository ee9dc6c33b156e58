"""A static gate's result as text, rows for scripts, Markdown, JUnit XML and GitHub annotations."""

from __future__ import annotations

from collections import defaultdict

from kswatch.ci.formats.escape import annotation, markdown, markdown_table, plain
from kswatch.ci.formats.junit import Case, junit_xml
from kswatch.ci.gate.static import CodeChange, StaticResult
from kswatch.db.compiled_code.resources import CodeFault

LISTED = 40


def static_text(result: StaticResult) -> str:
    """The whole result for a terminal."""
    lines = [static_headline(result)]
    lines += [f"  note: {plain(result.note)}"] if result.note else []
    lines += [f"  over budget: {fault_text(one)}" for one in result.faults]
    lines += [
        f"  {'REGRESSED' if one.regressed else 'changed'}: {change_text(one)}" for one in _shown(result)
    ]
    if len(result.changes) > LISTED:
        lines.append(f"  and {len(result.changes) - LISTED} more; --json has them all")
    return "\n".join(lines)


def static_headline(result: StaticResult) -> str:
    """The compiled kernels and the outcome in one line."""
    architectures = sorted({row.architecture for row in result.rows})
    word = "REGRESSED" if result.exit_code else "within its budget"
    against = f"{result.base.commit[:12]} -> " if result.base else ""
    counts = f"{len(result.rows)} kernels on {', '.join(architectures)}"
    return f"{against}{result.head.commit[:12]}: {word}; {counts}, {len(result.changes)} figures changed"


def _shown(result: StaticResult) -> list[CodeChange]:
    return sorted(result.changes, key=lambda one: not one.regressed)[:LISTED]


def fault_text(one: CodeFault) -> str:
    """One violation of a budget in one line."""
    return plain(f"{one.architecture} {one.kernel}: {one.what} {one.found}, allowed {one.allowed}")


def change_text(one: CodeChange) -> str:
    """One changed figure in one line."""
    where = f"{one.architecture} {one.kernel}"
    if one.figure == "kernel":
        return plain(f"{where}: {'removed' if one.after is None else 'added'}")
    return plain(f"{where}: {one.figure} {one.before} -> {one.after}")


def static_rows(result: StaticResult) -> list[dict[str, object]]:
    """One object for each kernel and architecture, with its faults and changes."""
    faults, changes = defaultdict(list), defaultdict(list)
    for fault in result.faults:
        faults[fault.kernel, fault.architecture].append(
            {name: getattr(fault, name) for name in ("what", "allowed", "found")}
        )
    for change in result.changes:
        values = {name: getattr(change, name) for name in ("before", "after", "regressed")}
        changes[change.kernel, change.architecture].append({"what": change.figure} | values)
    revisions = {"base": result.base.commit if result.base else None, "head": result.head.commit}
    return [
        revisions
        | row._asdict()
        | {"faults": faults[row.kernel, row.architecture], "changes": changes[row.kernel, row.architecture]}
        for row in result.rows
    ]


def static_markdown(result: StaticResult) -> str:
    """A Markdown page."""
    parts = ["# kswatch gate --static", markdown(static_headline(result))]
    parts += [f"- {markdown(result.note)}"] if result.note else []
    parts += [f"- **over budget**: {markdown(fault_text(one))}" for one in result.faults]
    if result.changes:
        header = ("architecture", "kernel", "figure", "base", "head")
        cells = [
            (one.architecture, one.kernel, one.figure, str(one.before), str(one.after))
            for one in _shown(result)
        ]
        parts.append(markdown_table(header, cells))
    return "\n\n".join(parts) + "\n"


def static_junit(result: StaticResult) -> str:
    """JUnit XML with one case for each kernel and architecture."""
    failures: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fault in result.faults:
        failures[fault.kernel, fault.architecture].append(fault_text(fault))
    for change in result.regressions:
        failures[change.kernel, change.architecture].append(change_text(change))
    cases = [
        Case(
            f"kswatch.static.{row.architecture}",
            row.kernel,
            "failure" if failures[row.kernel, row.architecture] else "passed",
            "\n".join(failures[row.kernel, row.architecture]),
        )
        for row in result.rows
    ]
    facts = {"head": result.head.commit} | ({"base": result.base.commit} if result.base else {})
    return junit_xml("kswatch gate --static", cases, facts=facts, system_out=static_text(result))


def static_annotations(result: StaticResult) -> str:
    """Workflow commands: an error for each fault and new spill, one notice for all other changes."""
    title = "kswatch gate --static"
    lines = [annotation("error", title, fault_text(one)) for one in result.faults[:LISTED]]
    lines += [annotation("error", title, change_text(one)) for one in result.regressions[:LISTED]]
    if result.changes:
        lines.append(annotation("notice", title, static_headline(result)))
    return "\n".join(lines)
