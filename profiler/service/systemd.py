"""A systemd unit for `kswatch serve`, and a cron line for `kswatch nightly`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from kswatch.profiler.config import ProfilerConfig

_UNIT = """\
# /etc/systemd/system/kswatch.service: systemctl enable --now kswatch
[Unit]
Description=kswatch: nightly and requested runs
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={command}
WorkingDirectory={folder}
Environment=KSWATCH_CONFIG={config}
# KSWATCH_DATABASE_URL, PGPASSWORD and the like: one NAME=value a line, readable by root alone
EnvironmentFile=-/etc/kswatch.environment
Restart=on-failure
RestartSec=30
# SIGTERM abandons the problem in progress; its run is resumed at the next start
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target

# Or, without a server, a line for crontab (its time zone is the host's, not profiler.timezone):
# {cron} cd {quoted_folder} && KSWATCH_CONFIG={quoted_config} {nightly}
"""


def unit(config: ProfilerConfig, config_path: Path) -> str:
    """The unit of this installation and configuration; the cron line is a comment below it."""
    kswatch = _kswatch()
    arguments = ["serve"]
    if config.engine != "local":
        arguments += ["--engine", config.engine, "--scheduler", config.scheduler]
    path = config_path.resolve()
    return _UNIT.format(
        command=" ".join(map(_escaped, (kswatch, *arguments))),
        folder=str(path.parent).replace("%", "%%"),
        config=_escaped(str(path)),
        cron=config.nightly_cron,
        quoted_folder=shlex.quote(str(path.parent)),
        quoted_config=shlex.quote(str(path)),
        nightly=" ".join(map(shlex.quote, (kswatch, "nightly"))),
    ).rstrip()


def _kswatch() -> str:
    """The path of this installation's command."""
    installed = Path(sys.executable).with_name("kswatch")
    return str(installed) if os.access(installed, os.X_OK) else shutil.which("kswatch") or "/usr/bin/kswatch"


def _escaped(word: str) -> str:
    """A word of a unit file: percent signs are specifiers there, dollars variables."""
    escaped = word.replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(letter.isspace() for letter in escaped) else escaped
