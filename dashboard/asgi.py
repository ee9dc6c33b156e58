"""What `streamlit run` serves: the pages behind the guard. Started by `kswatch dashboard`."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import streamlit
from starlette.middleware import Middleware
from streamlit import App

from kswatch.dashboard.auth import current_user as visitor
from kswatch.dashboard.auth.middleware import Guard, allowed_hosts
from kswatch.dashboard.auth.providers import door
from kswatch.dashboard.auth.settings import is_loopback, read_access, refuse_open_door

HOSTS = "KSWATCH_DASHBOARD_HOSTS"


def content_policy() -> str:
    """Everything from this server alone; the scripts that Streamlit writes into its page by their digests."""
    index = Path(streamlit.__file__).with_name("static") / "index.html"
    inline = re.findall(rb"<script>(.*?)</script>", index.read_bytes(), re.DOTALL)
    digests = " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in inline)
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {digests}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'self'",
            "form-action 'self'",
        )
    )


_address = streamlit.get_option("server.address") or "0.0.0.0"
_hosts = tuple(filter(None, os.environ.get(HOSTS, "").split(",")))
_access = read_access(os.environ)
refuse_open_door(_access, _address, _hosts)
_door = door(_access)
visitor.set_door(_door)

app = App(
    Path(__file__).with_name("app.py"),
    secrets=_door.secrets(),
    routes=_door.routes(),
    middleware=[
        Middleware(
            Guard,
            door=_door,
            hosts=allowed_hosts(_hosts, is_loopback(_address)),
            content_policy=content_policy(),
        )
    ],
)
