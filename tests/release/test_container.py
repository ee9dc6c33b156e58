"""The container file and its services: as linters want them, and its steps executed in a plain folder.

No registry of images can be reached by tests, so nothing is built. The steps that need no root run in a
scratch folder, with the places of the image replaced by places below it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.import_graph import ROOT

CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def instructions(kind: str) -> list[str]:
    """The arguments of each instruction of this kind, its continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.MULTILINE))
    return re.findall(rf"^\s*{kind} (.*)$", joined, re.MULTILINE)


def words(kind: str) -> list[str]:
    """The words of the last instruction of this kind, in JSON notation."""
    return json.loads(re.sub(r"^.*?(?=\[)", "", instructions(kind)[-1]))


def linter(name: str) -> Path:
    found = Path(sys.executable).with_name(name)
    if not found.exists():
        pytest.skip(f"{name} is not installed")
    return found


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([linter("hadolint"), "Containerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_yaml_is_what_compose_reads() -> None:
    check = linter("check-jsonschema")
    command = [check, "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_process_is_no_root_and_the_code_is_not_its_own() -> None:
    (user,) = instructions("USER")
    assert int(user) > 0 and f"--uid {user}" in CONTAINERFILE
    assert CONTAINERFILE.index("COPY ") < CONTAINERFILE.index("USER ")
    assert all("--chown" not in copied for copied in instructions("COPY"))


def test_no_secret_is_written_into_the_files() -> None:
    names = re.compile(r"(PASSWORD|TOKEN|SECRET|KEY)\w*\s*[:=]\s*(?P<value>\S.*)")
    for text in (CONTAINERFILE, (ROOT / "compose.yaml").read_text(encoding="utf-8")):
        for found in names.finditer(text):
            assert found["value"].startswith("${"), found[0]


def test_secrets_that_are_needed_stop_the_start_where_they_are_missing() -> None:
    demanded = {"POSTGRES_PASSWORD", "PGPASSWORD", "KSWATCH_TOKEN_READ", "KSWATCH_TOKEN_ACT"}
    given = {
        name: value for service in SERVICES.values() for name, value in service.get("environment", {}).items()
    }
    assert all(":?" in given[name] for name in demanded)


def test_only_loopback_of_the_host_is_published() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8501:8501"]
    assert COMPOSE["networks"]["store"]["internal"] is True
    assert SERVICES["store"]["networks"] == ["store"]


def test_every_service_has_a_health_check_that_the_others_wait_for() -> None:
    for name, service in SERVICES.items():
        assert service["healthcheck"]["test"], name
        for needed in service.get("depends_on", {}).values():
            assert needed == {"condition": "service_healthy"}


def test_the_context_leaves_out_what_git_ignores_and_nothing_that_it_tracks() -> None:
    patterns = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    folders = [pattern.removeprefix("**/").rstrip("/") for pattern in patterns]
    left_out = [
        path for path in tracked if {*Path(path).parts} & {*folders} or path.endswith((".db", ".env"))
    ]
    assert left_out == []
    assert ".venv" in folders and ".env" in folders


def in_folder(text: str, folder: Path) -> str:
    """A step of the image with its places below a folder."""
    return re.sub(r"/(opt|var/lib/kswatch|tmp)\b", rf"{folder}/\1", text)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the image holds: the context copied, and the step of the environment executed."""
    folder = tmp_path_factory.mktemp("image")
    for place in ("opt/kswatch", "var/lib/kswatch", "tmp"):
        (folder / place).mkdir(parents=True)
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / "opt/kswatch" / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    (step,) = [line for line in instructions("RUN") if "pip install" in line]
    (folder / "bin").mkdir()
    (folder / "bin/python3").symlink_to(sys.executable)
    lead_to_our_dependencies(folder / "opt/environment")
    settings = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "DEVICE": "cpu"}
    search = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", in_folder(step, folder)],
        env=os.environ | settings | search,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return folder


def lead_to_our_dependencies(environment: Path) -> None:
    """A new environment that finds ours by a path file: fetching torch again would show nothing more."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    installed = next(environment.glob("lib/python*/site-packages"))
    (installed / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")


def started(image: Path, arguments: list[str], **variables: str) -> subprocess.Popen[str]:
    """The image's entry point with these arguments, as its variables and folder have it."""
    environment = {
        "PATH": f"{image}/opt/environment/bin:{os.environ['PATH']}",
        "HOME": str(image / "var/lib/kswatch"),
        "KSWATCH_CACHE": str(image / "var/lib/kswatch/cache"),
        **variables,
    }
    command = [*words("ENTRYPOINT"), *(in_folder(one, image) for one in arguments)]
    command[0] = f"{image}/opt/environment/bin/{command[0]}"
    return subprocess.Popen(
        command,
        cwd=image / "var/lib/kswatch",
        env=environment,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@contextmanager
def running(image: Path, arguments: list[str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = started(image, arguments, **variables)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def becomes_healthy(process: subprocess.Popen[str], check: list[str], image: Path) -> bool:
    environment = os.environ | {"PATH": f"{image}/opt/environment/bin:{os.environ['PATH']}"}
    for _ in range(150):
        if process.poll() is not None:
            raise AssertionError(process.stderr.read() if process.stderr else "")
        if subprocess.run(check, env=environment, capture_output=True).returncode == 0:
            return True
        time.sleep(1)
    return False


@pytest.mark.slow
def test_the_image_s_command_serves_and_its_health_check_sees_it(image: Path) -> None:
    check = [in_folder(word, image) for word in words("HEALTHCHECK")]
    assert subprocess.run(check).returncode != 0, "nothing runs yet"
    with running(image, words("CMD")) as process:
        assert becomes_healthy(process, check, image)


@pytest.mark.slow
def test_the_dashboard_of_compose_demands_a_token_and_is_healthy_without(image: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [*SERVICES["dashboard"]["command"], "--port", port]
    with started(image, command) as open_to_all:
        assert open_to_all.wait(120) == 2, "on all addresses it starts with sign-in alone"
    check = [word.replace("8501", port) for word in SERVICES["dashboard"]["healthcheck"]["test"][1:]]
    tokens = {"KSWATCH_TOKEN_READ": "r" * 24, "KSWATCH_TOKEN_ACT": "a" * 24}
    with running(image, command, **tokens) as process:
        assert becomes_healthy(process, check, image)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/runs", timeout=10)


@pytest.mark.slow
def test_the_image_measures_a_night(image: Path) -> None:
    command = shlex.split("nightly --device sim:h200 --suite smoke --budget 1s --json")
    process = started(image, command)
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
