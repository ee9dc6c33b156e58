"""The root of all expected errors and its children: each is a failure that a user can correct.

Each folder raises these; `kswatch.cli` catches the root once and turns it into one sentence and an exit
code. A message names the failure, its subject and the cure.
"""


class KswatchError(Exception):
    """A failure with a cure; any other exception that escapes is a defect and exits with 4."""

    exit_code = 2


class UsageError(KswatchError):
    """An argument that does not exist or makes no sense (pattern, suite, device, option)."""


class ConfigurationError(KswatchError):
    """An error in kswatch.toml or in an environment variable."""


class StoreError(KswatchError):
    """The store cannot be opened, written or read (newer schema, read-only folder, disk full)."""


class FormatError(KswatchError):
    """A file for import that has none of the supported formats."""


class MeasurementError(KswatchError):
    """Nothing could be measured (no such device, no driver, another process on the GPU)."""

    exit_code = 3


class UnsupportedError(KswatchError):
    """An implementation cannot compute this problem here; becomes a cell's status, never fatal."""

    exit_code = 3


def shorten(message: str, most: int) -> str:
    """The beginning and end of a message of more characters, which may repeat an argument of any length."""
    return message if len(message) <= most else f"{message[: most // 2]}...{message[-most // 2 :]}"
