"""The command line: joins each folder's commands, reads the configuration, maps errors to exit codes.

The only file that knows every folder. It hands commands what crosses folders as callables in
`ctx.obj`, so that no folder imports another against the arrows (ARCHITECTURE.md).
"""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

import kswatch.ci.cli.bisect
import kswatch.ci.cli.check
import kswatch.ci.cli.gate
import kswatch.ci.cli.heuristics
import kswatch.ci.cli.outbox
import kswatch.ci.cli.simulate
import kswatch.dashboard.cli
import kswatch.db.cli.store
import kswatch.profiler.cli.profile
from kswatch.ci.config import CiConfig
from kswatch.dashboard.config import DashboardConfig
from kswatch.db.config import DbConfig
from kswatch.errors import ConfigurationError, KswatchError
from kswatch.profiler.config import ProfilerConfig

if TYPE_CHECKING:
    from kswatch.db.store import Store

TABLES: dict[str, type] = {
    "profiler": ProfilerConfig,
    "db": DbConfig,
    "ci": CiConfig,
    "dashboard": DashboardConfig,
}

EXIT_INTERNAL = 4
# click's own, or the copy of click that newer versions of typer bring
UsageFault: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="kswatch",
    help="Is the fused Kronecker-sparse kernel still right, still fast, still frugal?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: loading what would frame it takes longer than all the rest
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for commands in (
    kswatch.profiler.cli.profile.app,
    kswatch.db.cli.store.app,
    kswatch.ci.cli.check.app,
    kswatch.ci.cli.gate.app,
    kswatch.ci.cli.bisect.app,
    kswatch.ci.cli.heuristics.app,
    kswatch.ci.cli.simulate.app,
    kswatch.dashboard.cli.app,
):
    app.add_typer(commands)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"kswatch {version('kswatch')}")
        raise typer.Exit


@app.callback()
def prepare(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(envvar="KSWATCH_CONFIG", help="Configuration file; ./kswatch.toml by default."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Is the fused Kronecker-sparse kernel still right, still fast, still frugal?"""
    path = config or Path("kswatch.toml")
    tables = read_config(path, must_exist=config is not None)
    ctx.obj = {
        "config": tables,
        "config_path": path,
        "database_url": database_url(tables["db"], path),
        "measure": _measure,
        "judge": _judge,
        "ask_again": _ask_again,
        "predict": _predict,
        "size_of_run": _size_of_run,
        "notify": _notify,
        "write_overview": _write_overview,
        "telling": _telling,
        "look_around": _look_around,
        "open_gate": _open_gate,
        "compile_revisions": _compile_revisions,
        "revisions": _revisions,
    }


def read_config(path: Path, must_exist: bool = False) -> dict[str, Any]:
    """One frozen dataclass per folder, from the tables of a TOML file; defaults where it is silent.

    Raises:
        ConfigurationError: the file is missing though named, is not TOML, or has an unknown table
            or key or a value of the wrong type.
    """
    if not path.exists():
        if must_exist:
            raise ConfigurationError(
                f"configuration file {path} does not exist; create it or unset KSWATCH_CONFIG"
            )
        return {name: table() for name, table in TABLES.items()}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as TOML: {error}") from error
    for name in document:
        if name not in TABLES:
            raise ConfigurationError(f"{path}: unknown table [{name}]; known: {', '.join(TABLES)}")
    return {name: _read_table(path, name, document.get(name, {})) for name in TABLES}


def _read_table(path: Path, name: str, values: object) -> object:
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: {name} must be a table, as in [{name}]")
    table = TABLES[name]
    types = get_type_hints(table)
    known = [field.name for field in fields(table)]
    for key in values:
        if key not in known:
            raise ConfigurationError(f"{path}: unknown key {key!r} in [{name}]; known: {', '.join(known)}")
    return table(**{key: _convert(path, f"{name}.{key}", types[key], value) for key, value in values.items()})


def _convert(path: Path, key: str, wanted: Any, value: object) -> object:  # noqa: ANN401  (a type hint)
    """The value as the field's type, or an error that names the key."""
    if get_origin(wanted) in (UnionType, Union):
        wanted = next(kind for kind in get_args(wanted) if kind is not type(None))
    if get_origin(wanted) is tuple and isinstance(value, list):
        return tuple(_convert(path, key, get_args(wanted)[0], item) for item in value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is Path and isinstance(value, str):
        return Path(value)
    kind = wanted if isinstance(wanted, type) else object
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        named = getattr(wanted, "__name__", str(wanted))
        raise ConfigurationError(f"{path}: {key} = {value!r} is not of type {named}")
    return value


def database_url(config: DbConfig, config_path: Path) -> str:
    """The store's URL: KSWATCH_DATABASE_URL, else the configuration's, else kswatch.db beside it."""
    chosen = os.environ.get("KSWATCH_DATABASE_URL") or config.url
    return chosen or f"sqlite:///{config_path.resolve().parent / 'kswatch.db'}"


def _measure(*args: Any, **options: Any) -> Any:  # noqa: ANN401  (hands on to the profiler)
    from kswatch.profiler.runs.session import run_suite

    return run_suite(*args, **options)


def _judge(store: Store, run_id: int | None, config: CiConfig, *, now: datetime) -> Any:  # noqa: ANN401
    """Judge a run, and look for what is no longer measured at all."""
    from kswatch.ci.check import judge
    from kswatch.ci.missing_data import look_for_silence

    judged = judge(store, run_id, config, now=now)
    look_for_silence(store, config, now)
    return judged


def _look_around(store: Store, config: CiConfig) -> None:
    """Raise and end the alerts of what is no longer measured."""
    from kswatch.ci.missing_data import look_for_silence

    look_for_silence(store, config, datetime.now(UTC))


def _size_of_run(suite: str, arguments: dict[str, Any]) -> tuple[int, float | None]:
    """Cells of a run that is asked for, and the seconds of its budget."""
    from kswatch.profiler.planning.budget import parse_seconds
    from kswatch.profiler.planning.plan import Filters, plan_suite

    budget = arguments.get("budget")
    cells = plan_suite(suite, Filters.from_arguments(arguments)).cells
    return cells, parse_seconds(str(budget)) if budget else None


def _ask_again(store: Store, run_id: int, config: CiConfig) -> int | None:
    from kswatch.ci.confirmation.request import ask_again
    from kswatch.db.queries.basic import run

    return ask_again(store, run(store, run_id), config)


def _predict(store: Store, run_id: int) -> None:
    from kswatch.profiler.runs.predictions import record

    record(store, run_id)


def _notify(*args: Any, **options: Any) -> Any:  # noqa: ANN401  (hands on to ci)
    from kswatch.ci.notifications.sender import notify

    return notify(*args, **options)


def _telling(*args: Any, **options: Any) -> Any:  # noqa: ANN401  (hands on to ci)
    from kswatch.ci.notifications.sender import telling_regularly

    return telling_regularly(*args, **options)


def _open_gate(config: ProfilerConfig, **asked: Any) -> Any:  # noqa: ANN401  (hands on to the profiler)
    from kswatch.profiler.ab_runs.session import open_for_command

    return open_for_command(config, **asked)


def _write_overview(store: Store, path: Path) -> int:
    from kswatch.dashboard.static_export.page import write_overview

    return write_overview(store, path)


def _compile_revisions(*args: Any, **options: Any) -> Any:  # noqa: ANN401  (hands on to the profiler)
    from kswatch.profiler.revisions.compile_stats import of_revisions

    return of_revisions(*args, **options)


def _revisions(repository: Path) -> Any:  # noqa: ANN401  (hands on to the profiler)
    from kswatch.profiler.revisions.git import History

    return History(repository)


def main() -> None:
    """Run the command line; every expected failure becomes one sentence and its exit code."""
    try:
        code = app(standalone_mode=False)
    except KswatchError as error:
        _say(str(error))
        code = error.exit_code
    except UsageFault as error:
        error.show()
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
        _say("this is a defect of kswatch, not a regression; please report it with the lines above")
        code = EXIT_INTERNAL
    sys.exit(code if isinstance(code, int) else 0)


def _say(sentence: str) -> None:
    print(f"kswatch: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    main()
