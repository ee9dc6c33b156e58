"""The [dashboard] table of kswatch.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from kswatch.dashboard.formatting.code_urls import check_repository_url
from kswatch.db.config import KeyRange, check_ranges
from kswatch.errors import ConfigurationError


@dataclass(frozen=True)
class DashboardConfig:
    """The address of the dashboard; on any other than loopback users must sign in."""

    port: Annotated[int, KeyRange(65_535, least=1)] = 8501
    """The port; `kswatch dashboard --port` overrides it."""

    address: str = "127.0.0.1"
    """The address to listen on; `kswatch dashboard --address` overrides it."""

    hosts: tuple[str, ...] = ()
    """Host names that it is reached by through a proxy; besides this machine's own, no other is served."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies before it, whose X-Forwarded-For distinguishes clients when failed
    sign-ins are counted; from any other address that header is ignored."""

    repository_url: str = ""
    """The web address of the measured repository, which commits on the pages link to; that of the git remote
    `origin` of the current folder where it is empty."""

    url: str = ""
    """The address under which people open the dashboard, as https://kswatch.example.org; reports link to it
    where it is given."""

    agent_api: bool = False
    """Whether programs may read the pages through Streamlit's agent API (HTTP and MCP), with a token."""

    def __post_init__(self) -> None:
        check_ranges("dashboard", self)
        if self.repository_url:
            check_repository_url(self.repository_url)
        if self.url and not _WEB_ADDRESS.fullmatch(self.url):
            raise ConfigurationError(
                f"dashboard.url = {self.url[:60]!r} must be an address without a query, "
                "as in https://kswatch.example.org"
            )


_WEB_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(/[\w./~-]*)?")
