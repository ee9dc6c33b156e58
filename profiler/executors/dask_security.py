"""Who may reach a Dask worker: it runs whatever its scheduler sends, and hands its port to nobody else.

Dask has no passwords: anyone who reaches a scheduler or a worker runs code there. Beyond this machine only
TLS with certificates of both sides prevents that; it is set up by Dask's own settings (distributed.comm.tls).
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from kswatch.errors import ConfigurationError, MeasurementError

ENCRYPTED = ("tls", "wss")
PLAIN = ("tcp", "ws")


def require_safe_scheduler(address: str, allow_insecure: bool = False) -> None:
    """Refuse a scheduler on another machine without TLS, unless the user allows it.

    Raises:
        ConfigurationError: it is refused, or the address is none.
    """
    scheme, host = _parts(address)
    if scheme in ENCRYPTED or allow_insecure or _is_loopback(host):
        return
    raise ConfigurationError(
        f"the scheduler {address} is on another machine and has no TLS: anyone who reaches it, or a worker "
        f"of it, runs code there; start it with certificates and write {address.replace('tcp', 'tls', 1)} "
        "(docs.dask.org: TLS/SSL; DASK_DISTRIBUTED__COMM__TLS__... on each host), "
        "or give --insecure in a network that you trust"
    )


def listening_host(address: str, chosen: str = "") -> str:
    """The one address of this machine that a worker of the scheduler listens on.

    Args:
        address: Of the scheduler.
        chosen: The address of the configuration; empty for that of the route to the scheduler.

    Raises:
        MeasurementError: there is no route to the scheduler.
    """
    _, host = _parts(address)
    if chosen:
        return chosen
    if _is_loopback(host):
        return "127.0.0.1" if ":" not in host else "::1"
    try:
        # A UDP socket sends nothing when it is connected, but knows its route then.
        family, kind, _, _, target = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as route:
            route.connect(target)
            return str(route.getsockname()[0])
    except OSError as error:
        raise MeasurementError(
            f"there is no route to the scheduler {address}: {error}; set profiler.worker_host"
        ) from None


def _parts(address: str) -> tuple[str, str]:
    """Protocol and host of an address; `tcp` where it has none, as Dask understands it."""
    example = "write it as tls://host:8786, or tcp://127.0.0.1:8786"
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(f"scheduler {address!r}: {error}; {example}") from None
    if parts.scheme not in ENCRYPTED + PLAIN or not host or port is None:
        raise ConfigurationError(f"scheduler {address!r} is not the address of a Dask scheduler; {example}")
    return parts.scheme, host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
