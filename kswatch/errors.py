"""The one error root and its children: every failure that a user can cure.

Each folder raises these; `kswatch/cli.py` catches the root once and turns it into one sentence and
an exit code. A message says what happened, to what, and what to do next.
"""


class KswatchError(Exception):
    """A failure with a cure; anything else that escapes is a defect and exits with 4."""

    exit_code = 2


class UsageError(KswatchError):
    """What was asked for does not exist or makes no sense (pattern, suite, device, option)."""


class ConfigurationError(KswatchError):
    """kswatch.toml or an environment variable is wrong."""


class StoreError(KswatchError):
    """The store cannot be opened, written or read (newer schema, read-only folder, disk full)."""


class FormatError(KswatchError):
    """A file handed to import is not in a form that kswatch reads."""


class MeasurementError(KswatchError):
    """Nothing could be measured (no such device, no driver, neighbour on the GPU)."""

    exit_code = 3


class UnsupportedError(KswatchError):
    """An implementation cannot compute this problem here; becomes a cell's status, never fatal."""

    exit_code = 3
