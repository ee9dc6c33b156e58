"""The site builds strictly, without a network, and a reader's browser fetches nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import ROOT

LOADED = re.compile(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="?(https?:|//)[^>]*>')


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs")
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    no_network = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env=os.environ | no_network | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    texts = {path: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert len(texts) > 60
    assert {path.name: found[0] for path, text in texts.items() if (found := LOADED.search(text))} == {}
    styles = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css")]
    assert not [text for text in styles if re.search(r"@import|url\(['\"]?(?:https?:)?//", text)]
    assert "mermaid" not in "".join(re.findall(r'<(?:pre|div) class="mermaid', "".join(texts.values())))
