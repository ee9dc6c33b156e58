"""JUnit XML within the intersection of its two stricter schemas, so that every consumer accepts it.

Those are the schema of Ant's JUnit report (windyroad/JUnit-Schema) and that of Jenkins' xUnit plugin
(junit-10.xsd).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from kswatch.ci.formats.escape import plain, xml_text

CaseOutcome = Literal["passed", "failure", "error", "skipped"]
_FAILURE_TYPE = {"failure": "regression", "error": "not measured"}


@dataclass(frozen=True)
class Case:
    """One test case: a `failure` is a finding, an `error` a measurement that failed."""

    group: str
    name: str
    outcome: CaseOutcome = "passed"
    message: str = ""


def junit_xml(
    name: str,
    cases: Sequence[Case],
    *,
    seconds: float = 0.0,
    facts: Mapping[str, str] = {},  # noqa: B006  (only read)
    system_out: str = "",
) -> str:
    """One document with one suite; `system_out` is the report as a terminal shows it."""
    root = Element("testsuites")
    counts = {word: sum(case.outcome == word for case in cases) for word in ("failure", "error", "skipped")}
    suite = SubElement(
        root,
        "testsuite",
        {
            "name": plain(name),
            "package": "kswatch",
            "id": "0",
            "tests": str(len(cases)),
            "failures": str(counts["failure"]),
            "errors": str(counts["error"]),
            "skipped": str(counts["skipped"]),
            "time": f"{seconds:.3f}",
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
            "hostname": plain(socket.gethostname()) or "localhost",
        },
    )
    properties = SubElement(suite, "properties")
    for key, value in facts.items():
        SubElement(properties, "property", {"name": plain(key), "value": plain(value)})
    for case in cases:
        attributes = {"classname": plain(case.group), "name": plain(case.name), "time": "0.000"}
        element = SubElement(suite, "testcase", attributes)
        if case.outcome != "passed":
            detail = SubElement(element, case.outcome, {"message": plain(case.message)})
            if case.outcome in _FAILURE_TYPE:
                detail.set("type", _FAILURE_TYPE[case.outcome])
                detail.text = xml_text(case.message)
    SubElement(suite, "system-out").text = xml_text(system_out)
    SubElement(suite, "system-err")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
