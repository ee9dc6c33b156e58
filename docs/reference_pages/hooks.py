"""What MkDocs calls while it builds the site: adds the generated pages, and pages for linked files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[1]))

from reference_pages.generated import DOCUMENTS, GALLERY, GENERATED  # noqa: E402
from reference_pages.repository_links import (  # noqa: E402
    PICTURES,
    ROOT,
    closure,
    origin,
    page_of,
    rewritten,
    source_page,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, and every file of the repository that a page links to."""
    for uri, page in GENERATED.items():
        files.append(File.generated(config, uri, content=page()))
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


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:  # noqa: ANN401  (a page of MkDocs)
    """Lead links that leave `docs/` to the pages of their files."""
    return rewritten(markdown, page.file.src_uri)
