"""Requests to a code host's JSON interface: bounded, by HTTPS, never redirected, each refusal a sentence."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from kswatch.errors import ConfigurationError, MeasurementError

TIMEOUT_S = 30.0
LARGEST_ANSWER_BYTES = 20_000_000
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would carry the token to another host."""

    def redirect_request(self, *_: object) -> None:
        return None


class JsonApi:
    """The interface at one address, with a token.

    Args:
        address: Of the interface, without a slash at its end.
        headers: Of each request; they carry the token.
        cure: What the token needs, for the sentence of a refusal.

    Raises:
        ConfigurationError: the address is none of HTTPS, and not of this machine.
    """

    def __init__(self, address: str, headers: Mapping[str, str], cure: str) -> None:
        if not _is_safe(address):
            raise ConfigurationError(f"{address[:200]!r} is no https:// address; the token would be readable")
        self._address, self._cure = address.rstrip("/"), cure
        self._headers = {"Content-Type": "application/json", "User-Agent": "kswatch", **headers}
        self._opener = urllib.request.build_opener(_NoRedirect)

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401
        """The JSON answer.

        Raises:
            ConfigurationError: the host refuses the token, or the token's rights do not suffice.
            MeasurementError: the host cannot be reached, or answers with another error.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, dict(self._headers), method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read(LARGEST_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(method, error.code) from None
        except (
            OSError,
            ValueError,
            HTTPException,
            RecursionError,
        ) as error:  # no connection, no HTTP, no JSON
            host, written = (
                urlsplit(self._address).hostname,
                "nothing" if method == "GET" else "perhaps nothing",
            )
            raise MeasurementError(f"{host} gives no answer ({error}); {written} was written") from None

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list.

        Raises:
            ConfigurationError: as `call`.
            MeasurementError: as `call`, and where the answer is no list of objects.
        """
        found = self.call("GET", path)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise MeasurementError(f"{urlsplit(self._address).hostname} answers in another form than it did")
        return found

    def _refusal(self, method: str, code: int) -> ConfigurationError | MeasurementError:
        host = urlsplit(self._address).hostname
        if code == 401:
            return ConfigurationError(f"{host} does not accept the token (HTTP 401); {self._cure}")
        if code in (403, 404):
            return ConfigurationError(
                f"the token has no right to comment on this change (HTTP {code} from {host}); {self._cure}"
            )
        return MeasurementError(
            f"{host} refused {method} (HTTP {code}); nothing was written; try again later"
        )


def _is_safe(address: str) -> bool:
    """Whether a token may be sent there: encrypted, or to this machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    printable = address.isascii() and address.isprintable() and " " not in address
    return (
        printable
        and bool(host)
        and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
    )
