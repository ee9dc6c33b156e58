"""Streamlit's agent API: off unless it is chosen, then read-only behind a bearer token."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kswatch.dashboard.auth.machine_access import AGENT_PATHS
from kswatch.dashboard.auth.settings import AuthSettings, Tokens, require_tokens_for_agents
from kswatch.dashboard.cli import streamlit_arguments
from kswatch.dashboard.config import DashboardConfig
from kswatch.dashboard.data.server_settings import AGENT_API
from kswatch.db.queries.basic import alerts, requests
from kswatch.db.request_queue.requests import submit
from kswatch.db.store import Store
from kswatch.errors import ConfigurationError
from tests.dashboard.auth.test_middleware import ACT, READ, cookie_of, request, signed_in
from tests.dashboard.browser_rig import running_dashboard
from tests.dashboard.simulated_store import Plan, fill

INTERACT, MCP, DOCUMENT = "/_stcore/agent/interact", "/_stcore/agent/mcp", "/_stcore/agent/openapi.json"
DASHBOARD = Path(__file__).parents[2] / "dashboard"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with alerts and a queued request, of which nothing may change."""
    at = f"sqlite:///{tmp_path_factory.mktemp('agent') / 'kswatch.db'}"
    store = Store.open(at)
    fill(store, Plan(nights=3, patterns=1, devices=("sim-a100",), regression_night=2))
    submit(store, "smoke", "cpu", asked_by="ann")
    store.close()
    return at


@pytest.fixture(scope="module")
def address(url: str) -> Iterator[str]:
    settings = {"KSWATCH_TOKEN_READ": READ, "KSWATCH_TOKEN_ACT": ACT, AGENT_API: "1"}
    with running_dashboard(url, **settings) as at:
        yield at


def post(address: str, path: str, body: object, token: str | None = READ, **headers: str) -> tuple[int, Any]:
    given = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    answer = request(address + path, "POST", json.dumps(body).encode(), **given, **headers)
    text = answer.read().decode()
    return answer.status, json.loads(text)


def opened(address: str, page: str, token: str = READ, **headers: str) -> dict[str, Any]:
    status, snapshot = post(address, INTERACT, {"page": page}, token, **headers)
    assert status == 200 and snapshot["status"] == "ready", snapshot
    return snapshot


def state_of(url: str) -> list[object]:
    store = Store.open(url)
    found = [*alerts(store), *requests(store, limit=None)]
    store.close()
    return found


def test_it_is_off_by_default(url: str) -> None:
    assert not DashboardConfig().agent_api
    assert "--server.enableAgentApi=false" in streamlit_arguments(8501)
    with running_dashboard(url, KSWATCH_TOKEN_READ=READ) as at:
        for path in AGENT_PATHS:
            for method in ("GET", "POST"):
                answer = request(at + path, method, b"{}", Authorization=f"Bearer {READ}")
                assert answer.status == 404, (method, path)


def test_it_needs_a_token() -> None:
    with pytest.raises(ConfigurationError, match="needs a bearer token"):
        require_tokens_for_agents(AuthSettings(), agent_api=True)
    require_tokens_for_agents(AuthSettings(Tokens(read=READ)), agent_api=True)


@pytest.mark.parametrize("path", [INTERACT, MCP])
def test_nothing_is_answered_without_the_token(address: str, path: str) -> None:
    assert post(address, path, {}, None)[0] == 401
    assert post(address, path, {}, READ[:-1])[0] == 401
    cookie = cookie_of(signed_in(address, ACT))
    assert post(address, path, {}, None, Cookie=cookie)[0] == 401, "a session is no bearer token"


def test_exactly_these_paths_and_methods_are_served(address: str) -> None:
    bearer = {"Authorization": f"Bearer {READ}"}
    assert request(address + DOCUMENT, **bearer).status == 200
    for method, path in (("GET", INTERACT), ("GET", MCP), ("POST", DOCUMENT), ("PUT", INTERACT)):
        assert request(address + path, method, b"{}", **bearer).status == 405
    others = ("/_stcore/agent", "/_stcore/agent/", "/_stcore/agent/x", INTERACT + "/", "//_stcore/agent/mcp")
    for path in others:
        assert request(address + path, "POST", b"{}", **bearer).status == 404, path
    for path in ("/_stcore/stream", "/media/x", "/alerts", "/_stcore/upload_file/a/b"):
        assert request(address + path, **bearer).status == 401, path  # a bearer token opens no page
    assert post(address, INTERACT, {}, Origin="https://evil.example")[0] == 403
    assert request(address + INTERACT, "POST", b"{}", Content_Length="1000001", **bearer).status == 413


def test_a_page_is_read(address: str) -> None:
    snapshot = opened(address, "alerts")
    assert "untriaged alert" in json.dumps(snapshot["tree"])


@pytest.mark.parametrize("as_user", [False, True], ids=["bearer to act", "and a session to act"])
@pytest.mark.parametrize(
    ("page", "written"),
    [("alerts", ["act_1", "alert_action"]), ("ask", ["ask", "cancel_1", "FormSubmitter:ask"])],
)
def test_nothing_is_acknowledged_requested_or_cancelled(
    address: str, url: str, page: str, written: list[str], as_user: bool
) -> None:
    """No widget that writes is offered, and the server refuses those that a program makes up."""
    cookie = {"Cookie": cookie_of(signed_in(address, ACT))} if as_user else {}
    before, snapshot = state_of(url), opened(address, page, ACT, **cookie)
    assert [one["key"] for one in snapshot["actions"] if one["kind"] == "trigger"] == []
    for key in written:
        body = {"session_id": snapshot["session_id"], "trigger": {"key": key}}
        status, answer = post(address, INTERACT, body, ACT, **cookie)
        assert status >= 400 and "error" in answer, answer
    assert state_of(url) == before


def test_mcp_lists_its_tools_to_a_bearer(address: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    status, answer = post(address, MCP, message)
    assert status == 200 and {tool["name"] for tool in answer["result"]["tools"]} == {"interact", "get_data"}


def test_each_write_of_a_page_asks_who_acts() -> None:
    """`acting_name` refuses users without that right; each block that opens the store to write asks it."""
    blocks = [
        (path.name, ast.unparse(node))
        for path in DASHBOARD.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.With) and "writing_store()" in ast.unparse(node.items[0])
    ]
    assert len(blocks) >= 4
    assert [name for name, text in blocks if "acting_name(" not in text] == []
