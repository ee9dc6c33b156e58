"""The settings that `kswatch dashboard` hands to the server process by its environment."""

from __future__ import annotations

import os
from pathlib import Path

import kswatch
from kswatch.dashboard.auth.attempts import Network, read_networks
from kswatch.dashboard.config import DashboardConfig
from kswatch.dashboard.formatting.code_urls import repository_address
from kswatch.db.config import RequestLimits
from kswatch.services import JudgementLimits, TimingLimits

DATABASE_URL = "KSWATCH_DATABASE_URL"
HOSTS = "KSWATCH_DASHBOARD_HOSTS"
TRUSTED_PROXIES = "KSWATCH_DASHBOARD_TRUSTED_PROXIES"
AGENT_API = "KSWATCH_DASHBOARD_AGENT_API"
FORWARDED_ALLOW_IPS = "FORWARDED_ALLOW_IPS"
"""Uvicorn's own setting: it would accept the address of a client from any process on this machine."""

REQUEST_LIMITS = "KSWATCH_DASHBOARD_LIMITS"
"""Cells, minutes and requests per hour, separated by commas."""

JUDGEMENT_LIMITS = "KSWATCH_DASHBOARD_JUDGEMENT_LIMITS"
TIMING_LIMITS = "KSWATCH_DASHBOARD_TIMING_LIMITS"
REPOSITORY_URL = "KSWATCH_DASHBOARD_REPOSITORY_URL"


def server_environment(
    url: str,
    dashboard: DashboardConfig,
    requests: RequestLimits,
    judgement: JudgementLimits,
    timing: TimingLimits,
) -> dict[str, str]:
    """The environment variables of a server that does not read the configuration itself."""
    folder = str(Path(kswatch.__file__).parents[1])
    return {
        DATABASE_URL: url,
        HOSTS: ",".join(dashboard.hosts),
        TRUSTED_PROXIES: ",".join(dashboard.trusted_proxies),
        AGENT_API: "1" if dashboard.agent_api else "",
        FORWARDED_ALLOW_IPS: "",
        REQUEST_LIMITS: f"{requests.request_cells},{requests.request_minutes},{requests.requests_per_hour}",
        JUDGEMENT_LIMITS: judgement.as_text(),
        TIMING_LIMITS: timing.as_text(),
        REPOSITORY_URL: dashboard.repository_url,
        "PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])),
    }


def host_names() -> tuple[str, ...]:
    """The configured names that the dashboard is reached by through a proxy."""
    return tuple(filter(None, os.environ.get(HOSTS, "").split(",")))


def agent_api() -> bool:
    """Whether programs may draw pages through Streamlit's agent API."""
    return os.environ.get(AGENT_API) == "1"


def trusted_proxies() -> tuple[Network, ...]:
    """The proxies whose X-Forwarded-For counts when failed sign-ins are counted.

    Raises:
        ConfigurationError: one of them is no address.
    """
    return read_networks(tuple(filter(None, os.environ.get(TRUSTED_PROXIES, "").split(","))))


def request_limits() -> RequestLimits:
    """The cost limits of one request; the defaults on a server started without `kswatch dashboard`."""
    text = os.environ.get(REQUEST_LIMITS)
    if not text:
        return RequestLimits()
    cells, minutes, per_hour = text.split(",")
    return RequestLimits(int(cells), float(minutes), int(per_hour))


def judgement_limits() -> JudgementLimits:
    """The limits of judging; the defaults on a server started without `kswatch dashboard`."""
    return JudgementLimits.from_text(os.environ.get(JUDGEMENT_LIMITS, ""))


def timing_limits() -> TimingLimits:
    """The limits of timing; the defaults on a server started without `kswatch dashboard`."""
    return TimingLimits.from_text(os.environ.get(TIMING_LIMITS, ""))


def repository_url() -> str | None:
    """The web address of the measured repository, which commits link to; None where it is not known."""
    return repository_address(os.environ.get(REPOSITORY_URL, ""))
