"""What two known schemas of JUnit XML ask for together: Ant's (windyroad) and Jenkins' (junit-10.xsd)."""

from __future__ import annotations

import re
from xml.etree import ElementTree

NUMBER, TIME = r"\d+", r"\d{1,9}\.\d{3}"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
SUITE = {
    "name": ".+",
    "package": ".+",
    "id": NUMBER,
    "tests": NUMBER,
    "failures": NUMBER,
    "errors": NUMBER,
    "skipped": NUMBER,
    "time": TIME,
    "timestamp": STAMP,
    "hostname": ".+",
}
CASE = {"name": ".+", "classname": ".+", "time": TIME}
ENDS = {"failure": {"message": ".*", "type": ".+"}, "error": {"message": ".*", "type": ".+"}}
ENDS |= {"skipped": {"message": ".*"}}
TOKEN = re.compile(r"\S+( \S+)*")


def assert_junit(text: str, **counts: int) -> None:
    """It is well formed, holds these elements in this order and no others, and counts right."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites" and not root.attrib
    (suite,) = root
    assert suite.tag == "testsuite"
    _assert_attributes(suite, SUITE)
    tags = [child.tag for child in suite]
    cases = tags.count("testcase")
    assert tags == ["properties", *["testcase"] * cases, "system-out", "system-err"]
    for entry in suite[0]:
        assert entry.tag == "property" and set(entry.attrib) == {"name", "value"}
        assert TOKEN.fullmatch(entry.get("name"))
    ends = []
    for case in suite.findall("testcase"):
        _assert_attributes(case, CASE)
        assert len(case) <= 1
        for end in case:
            _assert_attributes(end, ENDS[end.tag])
            ends.append(end.tag)
    expected = {"tests": cases, "failures": ends.count("failure"), "errors": ends.count("error")}
    expected["skipped"] = ends.count("skipped")
    assert {name: int(suite.get(name)) for name in expected} == expected
    assert expected | counts == expected


def _assert_attributes(element: ElementTree.Element, allowed: dict[str, str]) -> None:
    assert set(element.attrib) == set(allowed), element.tag
    for name, pattern in allowed.items():
        assert re.fullmatch(pattern, element.get(name), re.DOTALL), (element.tag, name, element.get(name))
        if name in ("name", "classname", "hostname"):
            assert TOKEN.fullmatch(element.get(name))
