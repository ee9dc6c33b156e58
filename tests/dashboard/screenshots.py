r"""Screenshots of every page, light and dark, wide and narrow, into a folder.

    python -m tests.dashboard.screenshots FOLDER [DATABASE_URL]

Without a URL the store holds simulated nights, which pages mark by a badge. The two pictures of
the README show the published measurements of energy on a V100:

    kswatch import ksmm_energy_v100.csv
    python -m tests.dashboard.screenshots dashboard/pictures sqlite:///kswatch.db --first-screen \
        --width wide --scheme light --page energy --page heuristics \
        --choices "device=imported:Tesla V100-PCIE-16GB&layout=batch_last"
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Browser

from kswatch.dashboard.navigation import PAGES
from kswatch.db.store import Store
from tests.dashboard.browser_rig import (
    chromium_or_reason,
    launched_browser,
    patient_page,
    running_dashboard,
    wait_until_drawn,
)
from tests.dashboard.data.simulated_gates import fill_gates
from tests.dashboard.data.simulated_queue import fill_queue
from tests.dashboard.simulated_store import Plan, fill

WIDTHS = {"wide": (1280, 900), "narrow": (400, 800)}
SCHEMES = ("light", "dark")


def take(
    browser: Browser,
    address: str,
    folder: Path,
    pages: list[str],
    widths: Iterable[str] = WIDTHS,
    schemes: Iterable[str] = SCHEMES,
    choices: str = "",
    whole: bool = True,
) -> None:
    """Take one picture per page, width and colour scheme, of the whole page or its first screen.

    Args:
        browser: to use.
        address: of the dashboard.
        folder: of the pictures.
        pages: by their paths.
        widths: names of `WIDTHS`.
        schemes: light, dark.
        choices: the query of the address, as `device=cpu&precision=fp32`.
        whole: the whole page instead of the first screen.
    """
    for width in widths:
        across, down = WIDTHS[width]
        for scheme in schemes:
            context = browser.new_context(viewport={"width": across, "height": down}, color_scheme=scheme)  # type: ignore[arg-type]
            page = patient_page(context)
            for path in pages:
                page.goto(f"{address}/{path if path != PAGES[0].path else ''}?{choices}")
                wait_until_drawn(page)
                if whole:
                    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
                    page.set_viewport_size({"width": across, "height": min(max(down, height + 60), 6000)})
                    wait_until_drawn(page)
                page.screenshot(path=folder / f"{path}-{width}-{scheme}.png")
                page.set_viewport_size({"width": across, "height": down})
            context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take pictures of every page.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--page", action="append", choices=[entry.path for entry in PAGES])
    parser.add_argument("--width", action="append", choices=list(WIDTHS))
    parser.add_argument("--scheme", action="append", choices=SCHEMES)
    parser.add_argument("--choices", default="", help="query of the address, as device=cpu&precision=fp32")
    parser.add_argument("--first-screen", action="store_true", help="not the whole length of a page")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    executable, reason = chromium_or_reason()
    if executable is None:
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as temporary:
        url = given.url or f"sqlite:///{temporary}/simulated.db"
        if not given.url:
            store = Store.open(url)
            fill(store, Plan.until_now(20, patterns=12))
            fill_queue(store)
            fill_gates(store)
        with running_dashboard(url) as address, launched_browser(executable) as browser:
            pages = given.page or [entry.path for entry in PAGES]
            options = (given.width or WIDTHS, given.scheme or SCHEMES, given.choices, not given.first_screen)
            take(browser, address, given.folder, pages, *options)


if __name__ == "__main__":
    main()
