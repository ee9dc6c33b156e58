"""What axe-core finds on every page, in both colour schemes and at two widths: nothing serious."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from kswatch.dashboard.navigation import PAGES
from tests.dashboard.browser_rig import FAILURES, patient_page, wait_until_drawn

pytestmark = pytest.mark.browser

SERIOUS = ("serious", "critical")


def serious_findings(page: Page) -> list[str]:
    """One line per element that breaks a rule of axe-core, with what axe says of it."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


FIRST = "speedup", "dark", 1280
EVERY = [
    (entry.path, scheme, width) for entry in PAGES for scheme in ("light", "dark") for width in (1280, 400)
]


@pytest.mark.parametrize(
    ("path", "scheme", "width"),
    [pytest.param(*one, marks=[] if one == FIRST else pytest.mark.slow) for one in EVERY],
)
def test_axe_finds_nothing_serious(
    browser: Browser, address: str, path: str, scheme: Literal["light", "dark"], width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = patient_page(context)
    page.goto(f"{address}/{path if path != PAGES[0].path else ''}")
    wait_until_drawn(page)
    assert page.locator(FAILURES).count() == 0
    findings = serious_findings(page)
    context.close()
    assert findings == []
