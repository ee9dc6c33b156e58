"""The one comment of kswatch on a change: written where something is reported, then updated in place."""

from __future__ import annotations

from collections.abc import Sequence

from kswatch.ci.code_hosts.hosts import CodeHost
from kswatch.ci.formats.comment import MARKER, joined
from kswatch.errors import MeasurementError

CALM = f"{MARKER}\n\n**kswatch**: nothing changed any more.\n"
"""In place of an earlier comment whose findings have gone."""


def update_comment(host: CodeHost, parts: Sequence[str]) -> str:
    """Write the parts as one comment, in place of an earlier one; returns what was done, in a sentence.

    Only a comment of the token's own user is replaced, whatever others begin with.

    Raises:
        ConfigurationError: the host refuses the token, or its rights do not suffice.
        MeasurementError: the host cannot be reached, or answers in another form.
    """
    body = joined(parts, host.most_characters, host.job_url)
    user = host.user()
    if not user:
        raise MeasurementError("the host does not give the name of the token's user; nothing was written")
    earlier = next((one for one in host.comments() if one.author == user and _is_by_kswatch(one.body)), None)
    if earlier is None and not body:
        return "nothing changed, and there is no earlier comment: none is written"
    body = body or CALM
    if earlier is None:
        host.create(body)
        return "wrote a comment"
    if earlier.body.strip() == body.strip():
        return "the comment is up to date"
    host.replace(earlier.id, body)
    return "updated the comment"


def _is_by_kswatch(body: str) -> bool:
    return body.lstrip().startswith(MARKER)
