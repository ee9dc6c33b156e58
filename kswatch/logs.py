"""The log of a daemon: a line per record on stderr, as text or JSON, with the device and run concerned.

Part of the floor, like `kswatch.errors`. Modules log by `logging.getLogger(__name__)`; `log_context` names
the device and the run of everything that is logged inside it.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

FORMATS: Final = ("text", "json", "plain")
"""A line with time, level, module, device and run; the same as a JSON object; only the message."""
CHATTY: Final = ("apscheduler", "asyncio", "dask", "distributed", "sqlalchemy", "tornado")
"""Loggers of libraries whose warnings are logged, but nothing below."""
INTERRUPTED_AGAIN_AFTER_S: Final = 0.01
"""Until then, a finalizer that swallowed an interrupt has returned."""
_former_hook: list[Callable[[Any], Any]] = []

_fields: ContextVar[dict[str, Any]] = ContextVar("kswatch_log_fields", default={})  # noqa: B039  (never changed)


def configure(form: str, verbose: bool = False) -> None:
    """Send log records to stderr: of kswatch from info upwards, or debug; of libraries from warning upwards.

    Args:
        form: One of `FORMATS`.
        verbose: Whether debug records are shown too.
    """
    handler = _StderrHandler()
    handler.set_name(form)
    handler.setFormatter({"text": TextFormatter, "json": JsonFormatter, "plain": PlainFormatter}[form]())
    handler.addFilter(_add_fields)
    handler.addFilter(_is_no_interrupt)
    root = logging.getLogger()
    root.handlers = [*(other for other in root.handlers if other.name not in FORMATS), handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("kswatch").setLevel(logging.DEBUG if verbose else logging.INFO)
    quiet_libraries()
    logging.captureWarnings(True)


def quiet_libraries() -> None:
    """Undo the handlers and levels that libraries set for themselves, some of them when they are imported."""
    for name in CHATTY:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers, logger.propagate = [], True


def expect_interrupt() -> None:
    """Let Ctrl-C end the process wherever it arrives, and without a traceback of a library.

    A pool of connections logs an interrupt that reaches it while it resets a connection; a finalizer that is
    interrupted swallows the interrupt, which is repeated here.
    """
    if logging.lastResort is not None and _is_no_interrupt not in logging.lastResort.filters:
        logging.lastResort.addFilter(_is_no_interrupt)
    if sys.unraisablehook is not _repeat_interrupt:
        _former_hook[:] = [sys.unraisablehook]
        sys.unraisablehook = _repeat_interrupt


def _repeat_interrupt(ignored: sys.UnraisableHookArgs) -> None:
    """Send an interrupt that a finalizer swallowed again; anything else is left to the former hook."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        main = threading.main_thread().ident
        threading.Timer(INTERRUPTED_AGAIN_AFTER_S, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        _former_hook[0](ignored)


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    """Whether a record is about anything else than Ctrl-C, which the command itself reports."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, KeyboardInterrupt)


def is_configured() -> bool:
    """Whether `configure` was called in this process."""
    return any(handler.name in FORMATS for handler in logging.getLogger().handlers)


def arguments() -> list[str]:
    """Format and level, for a child process that calls `configure_as`."""
    form = next((handler.name for handler in logging.getLogger().handlers if handler.name in FORMATS), "text")
    return [str(form), logging.getLevelName(logging.getLogger("kswatch").getEffectiveLevel())]


def configure_as(form: str, level: str) -> None:
    """Configure a child process by the `arguments` of its parent."""
    configure(form, verbose=level == "DEBUG")


def report_error(sentence: str, *, defect: bool = False) -> None:
    """Write why a command ends: to the log of a daemon, else to stderr; a defect with its traceback."""
    if is_configured():
        logging.getLogger("kswatch").error(sentence, exc_info=defect)
        return
    if defect:
        sys.excepthook(*sys.exc_info())
    print(f"kswatch: {sentence}", file=sys.stderr)


@contextmanager
def log_context(*, device: str | None = None, run: int | None = None) -> Iterator[None]:
    """Name the device and the run of everything that this thread logs inside."""
    token = _fields.set(_fields.get() | _known(device=device, run=run))
    try:
        yield
    finally:
        _fields.reset(token)


def set_log_run(run: int) -> None:
    """Name the run of everything that this thread logs until the end of the surrounding `log_context`."""
    _fields.set(_fields.get() | {"run": run})


def _known(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _add_fields(record: logging.LogRecord) -> bool:
    """Complete a record by the fields of its thread, unless it was logged with fields of its own."""
    for name in ("device", "run"):
        if not hasattr(record, name):
            setattr(record, name, _fields.get().get(name))
    return True


class _StderrHandler(logging.StreamHandler):
    """Writes to what `sys.stderr` is when a record comes, not to what it was at first."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        super().emit(record)


def _utc(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """`2030-01-31T02:00:00.000Z INFO kswatch.profiler.service.server [cuda:0, run 12] message`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """One line, without the traceback that `format` adds."""
        device, run = getattr(record, "device", None), getattr(record, "run", None)
        about = ", ".join([*([device] if device else []), *([f"run {run}"] if run is not None else [])])
        where = f"{record.name} [{about}]" if about else record.name
        return f"{_utc(record)} {record.levelname} {where} {record.message}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `exception` holds a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The object: time in UTC, level, module, message, device and run."""
        document = {
            "time": _utc(record),
            "level": record.levelname,
            "module": record.name,
            "message": record.getMessage(),
            "device": getattr(record, "device", None),
            "run": getattr(record, "run", None),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """`kswatch: message`, for a person at a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """One line, without the traceback that `format` adds."""
        return f"kswatch: {record.message}"
