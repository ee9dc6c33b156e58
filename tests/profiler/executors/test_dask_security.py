"""Where a Dask worker listens, and which schedulers are refused; real processes on loopback."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from kswatch.cli import app
from kswatch.errors import ConfigurationError, MeasurementError
from kswatch.profiler.executors.dask_security import listening_host, require_safe_scheduler


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:8786", "127.0.0.1:8786", "tcp://[::1]:8786", "tcp://localhost:8786"]
)
def test_a_scheduler_of_this_machine_needs_no_certificates(address):
    assert require_safe_scheduler(address) is None


@pytest.mark.parametrize("address", ["tls://night.example:8786", "wss://10.0.0.7:8786"])
def test_a_scheduler_elsewhere_with_tls_is_accepted(address):
    assert require_safe_scheduler(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "tcp://night.example:8786",
        "night.example:8786",
        "tcp://10.0.0.7:8786",
        "tcp://0.0.0.0:8786",
        "tcp://127.0.0.1.example:8786",
        "ws://night:8786",
        "tcp://[2001:db8::1]:8786",
    ],
)
def test_a_scheduler_elsewhere_without_tls_is_refused_unless_allowed(address):
    with pytest.raises(ConfigurationError, match="has no TLS.*--insecure"):
        require_safe_scheduler(address)
    require_safe_scheduler(address, allow_insecure=True)


@pytest.mark.parametrize(
    "address",
    ["", "tcp://", "tcp://:8786", "tcp://host", "http://host:80", "inproc://x", "tcp://h:port", "tcp://[::1"],
)
def test_what_is_no_scheduler_s_address_is_refused_with_an_example(address):
    with pytest.raises(ConfigurationError, match="write it as"):
        require_safe_scheduler(address)


def test_a_worker_listens_on_loopback_for_a_scheduler_there_and_on_the_chosen_address_else():
    assert listening_host("tcp://127.0.0.1:8786") == "127.0.0.1"
    assert listening_host("tcp://[::1]:8786") == "::1"
    assert listening_host("tls://night.example:8786", "10.1.2.3") == "10.1.2.3"
    with pytest.raises(MeasurementError, match="no route"):
        listening_host("tls://night.invalid:8786")


@pytest.mark.parametrize("command", ["worker", "serve", "nightly"])
def test_the_commands_refuse_such_a_scheduler(command, tmp_path, monkeypatch):
    monkeypatch.setenv("KSWATCH_DATABASE_URL", f"sqlite:///{tmp_path}/kswatch.db")
    engine = ["--device", "cpu"] if command == "worker" else ["--engine", "dask"]
    done = CliRunner().invoke(app, [command, *engine, "--scheduler", "tcp://10.0.0.7:8786"])
    assert isinstance(done.exception, ConfigurationError) and "has no TLS" in str(done.exception)


class Cluster:
    """A scheduler and a worker of a simulated device, ended with the test."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._folder, self._environment = folder, os.environ | variables
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "errors.txt").open("ab"),
        )
        self._processes.append(process)
        return process

    def scheduler(self, *options: str) -> str:
        place = self._folder / "scheduler.json"
        command = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.start(*command, "--no-jupyter", "--scheduler-file", str(place), *options)
        wait_until(lambda: place.exists() and place.stat().st_size > 0, self._folder)
        return str(json.loads(place.read_text())["address"])

    def worker(self, address: str) -> psutil.Process:
        """The process that serves the device, once it is registered."""
        command = self.start("kswatch", "worker", "--scheduler", address, "--device", "sim:h200")
        wait_until(lambda: "serves" in (self._folder / "errors.txt").read_text(), self._folder)
        (served,) = psutil.Process(command.pid).children()
        return served

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()


def wait_until(happened, folder, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, (folder / "errors.txt").read_text()
        time.sleep(0.05)


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    return [one.laddr for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]


def test_a_worker_listens_on_one_port_of_loopback_and_has_no_pages(tmp_path):
    cluster = Cluster(tmp_path)
    try:
        served = cluster.worker(cluster.scheduler())
        ((host, _),) = listening(served)
        assert host == "127.0.0.1"
    finally:
        cluster.close()


def certificate(folder: Path) -> Path:
    """A certificate that signs itself, with its key in the same file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kswatch test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "both.pem"
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*form))
    return path


def test_a_worker_joins_a_scheduler_by_tls_through_dask_s_own_settings(tmp_path):
    pem = str(certificate(tmp_path))
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    variables = {f"{tls}{role}__CERT": pem for role in ("SCHEDULER", "WORKER", "CLIENT")}
    cluster = Cluster(tmp_path, **variables, **{f"{tls}CA_FILE": pem})
    try:
        address = cluster.scheduler("--protocol", "tls")
        assert address.startswith("tls://")
        assert cluster.worker(address).is_running()
    finally:
        cluster.close()
