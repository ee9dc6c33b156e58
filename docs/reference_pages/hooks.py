"""What MkDocs calls while it builds the site: adds the generated pages, and pages for linked files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[1]))

from reference_pages import commands, configuration, json_outputs, python_api, store  # noqa: E402
from reference_pages.repository_links import (  # noqa: E402
    PICTURES,
    ROOT,
    closure,
    origin,
    page_of,
    rewritten,
    source_page,
)

GENERATED: dict[str, Callable[[], str]] = {
    "reference/command_line.md": commands.page,
    "reference/configuration.md": configuration.page,
    "reference/python.md": python_api.page,
    "reference/store.md": store.page,
    "reference/json.md": json_outputs.page,
}
DOCUMENTS = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Documents of the repository that the navigation has, whether a page links to them or not."""
GALLERY = ROOT / "gallery"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, and every file of the repository that a page links to."""
    texts = {uri: page() for uri, page in GENERATED.items()} | {"gallery.md": gallery_page()}
    for uri, text in texts.items():
        files.append(File.generated(config, uri, content=text))
    written = [(origin(file.src_uri), file.content_string) for file in files.documentation_pages()]
    links = [(path, f"[]({path})") for path in DOCUMENTS]
    for path in closure([*written, *links]):
        files.append(_repository_file(config, path))
    for path in sorted(GALLERY.rglob("*")) if GALLERY.is_dir() else ():
        if path.is_file():
            uri = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def _repository_file(config: MkDocsConfig, path: str) -> File:
    if Path(path).suffix in PICTURES:
        return File.generated(config, page_of(path), abs_src_path=str(ROOT / path))
    return File.generated(config, page_of(path), content=source_page(path))


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


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:  # noqa: ANN401  (a page of MkDocs)
    """Lead links that leave `docs/` to the pages of their files."""
    return rewritten(markdown, page.file.src_uri)


def pages() -> Iterator[str]:
    """The pages that this module adds by itself."""
    yield from GENERATED
    yield "gallery.md"
    yield from map(page_of, DOCUMENTS)
