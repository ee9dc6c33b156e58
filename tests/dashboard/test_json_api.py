"""The JSON API, metrics and health check over real HTTP on loopback."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from email.message import Message

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from kswatch.ci.cli.alerts import alerts_app
from kswatch.dashboard.auth.attempts import FIRST_DELAY_S, FREE_FAILURES
from kswatch.dashboard.auth.machine_access import BURST, READ_PATHS, RateLimit
from kswatch.dashboard.data.server_settings import TRUSTED_PROXIES
from kswatch.db.cli.store import app as store_app
from kswatch.db.machine_reads.prometheus import Gauge, exposition
from kswatch.db.queries.basic import runs
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.dashboard.auth.test_middleware import ACT, READ, request
from tests.dashboard.browser_rig import running_dashboard
from tests.dashboard.simulated_store import NASTY
from tests.kswatch.sample_services import sample_services

DEVICE = "sim-h200-0000"


@pytest.fixture(scope="module")
def address(simulated_url: str) -> Iterator[str]:
    settings = {"KSWATCH_TOKEN_READ": READ, "KSWATCH_TOKEN_ACT": ACT, TRUSTED_PROXIES: "127.0.0.1"}
    with running_dashboard(simulated_url, **settings) as at:
        yield at


_clients = itertools.count(1)
_client = ""


@pytest.fixture(autouse=True)
def a_client_of_its_own() -> None:
    """Each test is another client to the server, whose requests and failures are counted."""
    global _client
    _client = f"10.0.0.{next(_clients)}"


def ask(address: str, path: str, token: str | None = READ, method: str = "GET", **headers: str):
    given = {"Authorization": f"Bearer {token}"} if token is not None else {}
    given["X-Forwarded-For"] = _client
    answer = request(address + path, method, **given, **headers)
    return answer.status, answer.read().decode(), answer.headers


def asked(address: str, path: str):
    status, text, headers = ask(address, path)
    assert status == 200 and headers["Content-Type"] == "application/json", text
    return json.loads(text)


def printed(url: str, app, *arguments: str):
    result = CliRunner().invoke(app, [*arguments, "--json"], obj=sample_services(url))
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def test_the_answers_are_those_of_the_command_line(address: str, simulated_url: str) -> None:
    assert asked(address, "/api/v1/runs?limit=3") == printed(simulated_url, store_app, "runs", "--limit", "3")
    assert asked(address, "/api/v1/alerts?all=true") == printed(simulated_url, alerts_app, "--all")
    chosen = ("--device", DEVICE, "--precision", "bf16")
    summary = asked(address, f"/api/v1/summary?device={DEVICE}&precision=bf16")
    assert summary == printed(simulated_url, store_app, "summary", *chosen) and summary["problems"] > 0
    chosen = ("--device", DEVICE, "--metric", "speedup", "--layout", "batch_first", "--limit", "3")
    about = f"device={DEVICE}&metric=speedup&layout=batch_first&limit=3"
    series = asked(address, f"/api/v1/series?{about}")
    assert series == printed(simulated_url, store_app, "runs", "series", *chosen) and len(series) == 3


def test_the_series_are_listed_in_words_too(simulated_url: str) -> None:
    arguments = ["runs", "series", "--device", DEVICE, "--pattern", "6,64,64,1", "--implementation", "fused"]
    result = CliRunner().invoke(store_app, arguments, obj=sample_services(simulated_url))
    assert result.stdout.splitlines()[0].startswith("fused 6,64,64,1 batch ")
    assert "latency_ms" in result.stdout and "nights, run " in result.stdout
    none = CliRunner().invoke(store_app, [*arguments, "--batch", "9"], obj=sample_services(simulated_url))
    assert none.stdout == "no such series\n"
    bad = CliRunner().invoke(store_app, ["runs", "--json", "--kind", "x"], obj=sample_services(simulated_url))
    assert isinstance(bad.exception, UsageError)


def test_a_series_has_its_nights_in_order(address: str, simulated_url: str) -> None:
    about = f"device={DEVICE}&pattern=6,64,64,1&precision=fp32&layout=batch_first&implementation=fused"
    found = asked(address, f"/api/v1/series?{about}&metric=latency_ms&limit=1")
    nights = [one.id for one in runs(Store.open(simulated_url)) if one.device_uuid == DEVICE]
    (series,) = found
    assert (series["device"], series["pattern"], series["implementation"]) == (DEVICE, "6,64,64,1", "fused")
    assert [point["run"] for point in series["points"]] == sorted(nights)
    assert all(point["value"] > 0 for point in series["points"])


def test_the_index_lists_resources_and_parameters(address: str) -> None:
    index = asked(address, "/api/v1")
    assert index["version"] == 1 and set(index["resources"]) == {"runs", "series", "alerts", "summary"}
    assert index["resources"]["runs"] == ["device", "kind", "limit"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("runs?colour=red", "unknown parameter 'colour'; known: device, kind, limit"),
        ("runs?limit=0", "must be a number from 1 to 1000"),
        ("runs?limit=1&limit=2", "give it once"),
        ("runs?limit=" + "9" * 5_000, "at most 200 characters"),
        ("runs?limit=%D9%A3", "must be a number"),
        ("runs?limit=NaN", "must be a number"),
        ("runs?limit=-1", "must be a number"),
        ("runs?limit", "limit is empty"),
        ("runs?kind=", "kind is empty"),
        ("runs?kind=nightly,nihgtly", "unknown kind 'nihgtly'; choose from nightly"),
        ("runs?device=", "device is empty"),
        ("runs?device=a%00b", "a control character"),
        ("runs?device=%ff", "no device"),
        ("runs?limit=1;limit=2", "must be a number"),
        ("summary?precision=fp23", "must be fp32 or tf32"),
        ("summary?run=1e3", "must be a number"),
        (f"series?device={DEVICE}&layout=batch_frist", "must be batch_first or batch_last"),
        (f"series?device={DEVICE}&pattern=%D9%A3,1,1,1", "is no a,b,c,d"),
        ("runs?device=nowhere", "no device"),
        ("alerts?all=yes", "must be true or false"),
        ("series", "needs its device"),
        (f"series?device={DEVICE}&metric=beauty", "unknown metric"),
        (f"series?device={DEVICE}&pattern=1,2", "is no a,b,c,d"),
        (f"series?device={DEVICE}&batch=1e9", "must be a number"),
        ("summary?baselines=" + "x" * 300, "at most 200 characters"),
    ],
)
def test_bad_parameters_are_one_sentence(address: str, path: str, message: str) -> None:
    status, text, _ = ask(address, f"/api/v1/{path}")
    assert status == 400 and message in json.loads(text)["error"]


@pytest.mark.parametrize("path", sorted(READ_PATHS))
def test_without_the_token_there_is_no_answer(address: str, path: str) -> None:
    for token in (None, ""):
        assert is_refused(ask(address, path, token))
    assert ask(address, path, None, Authorization=f"Basic {READ}")[0] == 401
    assert ask(address, f"{path}?token={READ}", None)[0] == 401


@pytest.mark.parametrize("token", [READ + "x", "x" * 5_000])
def test_with_a_wrong_token_there_is_no_answer(address: str, token: str) -> None:
    assert is_refused(ask(address, "/metrics", token))


def is_refused(answer: tuple[int, str, Message]) -> bool:
    status, text, headers = answer
    return (status, headers["WWW-Authenticate"]) == (401, "Bearer") and "token" in text


def test_wrong_tokens_are_answered_ever_later_and_the_right_one_at_once(address: str) -> None:
    def seconds(token: str) -> float:
        began = time.monotonic()
        ask(address, "/api/v1", token)
        return time.monotonic() - began

    for _ in range(FREE_FAILURES):
        seconds("x" * 30)
    assert seconds("x" * 30) >= FIRST_DELAY_S * 2
    assert ask(address, "/api/v1")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_refused(address: str, method: str) -> None:
    for path in ("/api/v1/runs", "/metrics", "/healthz"):
        status, text, headers = ask(address, path, method=method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD"), text


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/v1/",
        "/api/v1/runs/",
        "/api/v2/runs",
        "/api/v1/alerts/1",
        "/metrics/",
        "//metrics",
    ]
    + ["/api//v1/runs", "/api/v1/../v1/runs", "/api/v1/%2e%2e/metrics", "/api/v1/runs;a=b", "/api/v1/runs%00"]
    + ["/healthz/x", "/api/v1/%72uns%2f", "/_stcore/agent/interact", "/_stcore/agent/openapi.json"],
)
def test_a_path_out_of_the_list_is_refused(address: str, path: str) -> None:
    status, text, _ = ask(address, path)
    assert status == 404 and "/api/v1 lists" in text


def test_a_path_that_only_looks_like_one_is_no_path_of_programs(address: str) -> None:
    """No route folds dots, cases or semicolons, so these are pages, which need a session and no bearer."""
    for path in ("/x/../api/v1/runs", "/./api/v1/runs", "/API/v1/runs", "/metrics;x", "/api\\v1\\runs"):
        assert ask(address, path)[0] == 401, path


def test_tokens_of_any_characters_are_refused_and_two_headers_are_none(address: str) -> None:
    assert ask(address, "/api/v1", "\xe9\xff" * 8)[0] == 401
    assert ask(address, "/api/v1", None, Authorization="Bearer")[0] == 401
    assert ask(address, "/api/v1", None, Authorization=f"Bearer\t{READ}")[0] == 401
    assert ask(address, "/api/v1/runs", Transfer_Encoding="chunked")[0] == 413
    assert ask(address, "/api/v1/runs", method="POST", X_HTTP_Method_Override="GET")[0] == 405


def test_no_metric_has_a_sample_twice(address: str) -> None:
    """Prometheus drops the whole answer where two samples have equal labels."""
    _, text, _ = ask(address, "/metrics")
    for family in text_string_to_metric_families(text):
        labels = [(one.name, *sorted(one.labels.items())) for one in family.samples]
        assert len(set(labels)) == len(labels), family.name


def test_a_page_of_another_site_and_a_foreign_host_are_refused(address: str) -> None:
    assert ask(address, "/api/v1/runs", Origin="https://evil.example")[0] == 403
    assert ask(address, "/api/v1/runs", Host="evil.example")[0] == 400
    assert "Access-Control-Allow-Origin" not in ask(address, "/api/v1/runs")[2]


def test_the_health_check_needs_no_token_and_holds_no_data(address: str) -> None:
    assert ask(address, "/healthz", None)[:2] == (200, "ok\n")
    assert ask(address, "/healthz", None, method="HEAD")[:2] == (200, "")


def test_the_metrics_are_prometheus_text(address: str) -> None:
    status, text, headers = ask(address, "/metrics", ACT)
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = {one.name: one.samples for one in text_string_to_metric_families(text)}
    devices = {sample.labels["device"] for sample in families["kswatch_last_night_age_seconds"]}
    assert devices == {DEVICE, "sim-a100-0000"}
    assert all(sample.value > 0 for sample in families["kswatch_median_speedup"])
    assert sum(sample.value for sample in families["kswatch_alerts"]) > 0
    assert {sample.labels["state"] for sample in families["kswatch_requests"]} == {"queued", "running"}
    assert all(0 < sample.value < 2 for sample in families["kswatch_floor_ratio"])


def test_labels_hold_any_text() -> None:
    text = exposition([Gauge("kswatch_x", {"model": f'a"b\\c\n{NASTY}'}, 1.5)], {"kswatch_x": "help"})
    ((sample,),) = [one.samples for one in text_string_to_metric_families(text)]
    assert sample.labels == {"model": f'a"b\\c\n{NASTY}'} and sample.value == 1.5


def test_a_client_that_asks_too_often_waits(address: str) -> None:
    answers = [ask(address, "/api/v1") for _ in range(BURST + 20)]
    refused = [headers for status, _, headers in answers if status == 429]
    assert refused and int(refused[0]["Retry-After"]) >= 1
    assert ask(address, "/healthz", None)[0] == 200


def test_the_rate_is_that_of_each_client() -> None:
    now = 0.0
    limit = RateLimit(lambda: now)
    assert [limit.wait_s("a") for _ in range(BURST)] == [0.0] * BURST
    assert limit.wait_s("a") == pytest.approx(0.5) and limit.wait_s("b") == 0.0
    now = 0.5
    assert limit.wait_s("a") == 0.0 and limit.wait_s("a") > 0


def test_without_sign_in_loopback_reads_without_a_token(simulated_url: str) -> None:
    with running_dashboard(simulated_url) as at:
        assert ask(at, "/api/v1/alerts", None)[0] == 200
        assert ask(at, "/metrics", None)[0] == 200
        assert ask(at, "/_stcore/agent/interact", None, method="POST")[0] == 404
