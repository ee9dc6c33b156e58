"""The pages of the site that are written from the code, and the documents that lie outside `docs/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reference_pages import commands, configuration, json_outputs, python_api, store
from reference_pages.repository_links import ROOT, page_of

GALLERY = ROOT / "gallery"


def gallery_page() -> str:
    """The page of the gallery: a link to it, or how it is made where this build has none."""
    about = """# Gallery of change points

Series that people labelled, each with their marks, the levels that the detector finds and the alerts that the
nightly rule would have opened.

"""
    if (GALLERY / "index.html").is_file():
        return about + "[Open the gallery](gallery/index.html)\n"
    return about + (
        "This build has no gallery: it is drawn from published data sets, by `make gallery` with their "
        "folder in `KSWATCH_REFERENCE`. Twelve of the pictures are on "
        "[a page of their own](change_points.md).\n"
    )


GENERATED: dict[str, Callable[[], str]] = {
    "reference/command_line.md": commands.page,
    "reference/configuration.md": configuration.page,
    "reference/python.md": python_api.page,
    "reference/store.md": store.page,
    "reference/json.md": json_outputs.page,
    "gallery.md": gallery_page,
}
DOCUMENTS = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Documents of the repository that the navigation has, whether a page links to them or not."""


def pages() -> Iterator[str]:
    """The pages that the site has besides those below `docs/` and those that they link to."""
    yield from GENERATED
    yield from map(page_of, DOCUMENTS)
