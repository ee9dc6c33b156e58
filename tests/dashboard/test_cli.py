import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import kswatch
from kswatch.ci.config import CiConfig
from kswatch.composition import compose
from kswatch.dashboard.auth.attempts import read_networks
from kswatch.dashboard.cli import HOST, refuse_taken_port, streamlit_arguments
from kswatch.dashboard.config import DashboardConfig
from kswatch.dashboard.data import server_settings
from kswatch.dashboard.navigation import PAGES
from kswatch.db.config import RequestLimits
from kswatch.errors import UsageError
from kswatch.profiler.config import ProfilerConfig
from kswatch.services import JudgementLimits, TimingLimits
from tests.dashboard.browser_rig import free_port, wait_until_healthy


def test_a_taken_port_is_refused_with_another_to_try() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port + 1}"):
            refuse_taken_port(port)


def test_the_server_listens_on_this_machine_only_and_sends_no_statistics() -> None:
    arguments = streamlit_arguments(9000)
    assert "--server.address=127.0.0.1" in arguments
    assert "--browser.gatherUsageStats=false" in arguments
    assert "--server.port=9000" in arguments


def test_the_server_knows_the_configured_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    configured = RequestLimits(request_cells=8, request_minutes=20.0, requests_per_hour=2)
    judgement = JudgementLimits(silent_hours=40.5, canary_floor=0.1)
    timing = TimingLimits(too_slow_ms=250.5, cell_cap_ms=1000.0)
    repository = "https://github.com/owner/name"
    own = DashboardConfig(
        hosts=("a", "b"), trusted_proxies=("10.0.0.0/8",), repository_url=f"{repository}.git"
    )
    environment = server_settings.server_environment("sqlite://", own, configured, judgement, timing)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert server_settings.request_limits() == configured
    assert server_settings.judgement_limits() == judgement
    assert server_settings.timing_limits() == timing
    assert server_settings.host_names() == ("a", "b")
    assert server_settings.trusted_proxies() == read_networks(["10.0.0.0/8"])
    assert server_settings.repository_url() == repository
    for name in ("REQUEST_LIMITS", "JUDGEMENT_LIMITS", "TIMING_LIMITS", "HOSTS"):
        monkeypatch.delenv(getattr(server_settings, name))
    assert server_settings.request_limits() == RequestLimits()
    assert server_settings.judgement_limits() == CiConfig().judgement_limits
    assert server_settings.timing_limits() == ProfilerConfig().timing_limits
    assert server_settings.host_names() == ()


def test_the_command_serves_the_store_until_it_is_stopped(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "kswatch").mkdir()  # as in another clone
    (tmp_path / "kswatch/__init__.py").write_text("raise RuntimeError('imported from the working directory')")
    environment = os.environ | {
        "KSWATCH_DATABASE_URL": f"sqlite:///{tmp_path / 'kswatch.db'}",
        "PYTHONPATH": str(Path(kswatch.__file__).parents[1]),
    }
    command = [sys.executable, "-P", "-m", "kswatch", "dashboard", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as server:
        try:
            wait_until_healthy(server, f"http://127.0.0.1:{port}")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=120)
    assert (tmp_path / "kswatch.db").exists()


def test_the_pages_import_no_torch() -> None:
    code = "import sys, kswatch.dashboard.navigation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_no_page_is_named_like_a_module_of_python_or_a_folder_of_the_project() -> None:
    names = {entry.show.__module__.rpartition(".")[2] for entry in PAGES}
    assert not names & (
        set(sys.stdlib_module_names) | {"profiler", "kernels", "dashboard", "db", "ci", "tests"}
    )


def test_the_repository_is_the_configured_one_else_that_of_the_git_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compose(None).repository_url() is None
    remote = "https://user:secret@host.example/owner/name.git"
    for arguments in (("init", "--quiet"), ("remote", "add", "origin", remote)):
        subprocess.run(["git", *arguments], check=True)
    assert compose(None).repository_url() == "https://host.example/owner/name"
    (tmp_path / "kswatch.toml").write_text('[dashboard]\nrepository_url = "https://github.com/owner/other"\n')
    assert compose(None).repository_url() == "https://github.com/owner/other"
