"""The command line: joins the commands of all folders and maps errors to exit codes.

A command receives the services of other folders as `kswatch.services.Services`, which `kswatch.composition`
fills in, so that no folder imports another against the arrows (ARCHITECTURE.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

try:
    import kswatch.ci.cli.bisect
    import kswatch.ci.cli.check
    import kswatch.ci.cli.comment
    import kswatch.ci.cli.gate
    import kswatch.ci.cli.heuristics
    import kswatch.ci.cli.history
    import kswatch.ci.cli.replay
    import kswatch.ci.cli.simulate
    import kswatch.dashboard.cli
    import kswatch.db.cli.store
    import kswatch.profiler.cli.profile
    from kswatch.composition import compose
    from kswatch.db.cli.terminal import protect_output
    from kswatch.errors import KswatchError, StoreError, shorten
    from kswatch.profiler.signals import EXIT_INTERRUPTED
    from kswatch.services import Services
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("kswatch."):
        raise
    print(
        f"kswatch: {error.name} is missing: the checkout has lost the symbolic links in kswatch/; "
        "git config core.symlinks true && git checkout -- kswatch",
        file=sys.stderr,
    )
    sys.exit(2)

EXIT_INTERNAL = 4
_composed: list[Services] = []
"""The services of the command that runs, once its options are read."""
LONGEST_SENTENCE = 2_000
"""Characters of an error, which may repeat an argument of any length."""
# click's own, or the copy of click that newer versions of typer bring
UsageFault: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="kswatch",
    help="Profile the fused Kronecker-sparse kernel every night: correctness, latency, energy.",
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
    kswatch.ci.cli.comment.app,
    kswatch.ci.cli.bisect.app,
    kswatch.ci.cli.heuristics.app,
    kswatch.ci.cli.history.app,
    kswatch.ci.cli.replay.app,
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
    """Profile the fused Kronecker-sparse kernel every night: correctness, latency, energy."""
    from kswatch.logs import expect_interrupt

    expect_interrupt()
    ctx.obj = compose(config)
    _composed[:] = [ctx.obj]


def main() -> None:
    """Run the command line; every expected failure becomes one sentence and its exit code."""
    protect_output()
    try:
        code = app(standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # typer's own handling of Ctrl-C
            raise KeyboardInterrupt
        sys.stdout.flush()
    except KswatchError as error:
        _report(str(error))
        code = error.exit_code
    except UsageFault as error:
        error.message = shorten(error.message, LONGEST_SENTENCE)
        error.show()
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        _report("interrupted")
        code = EXIT_INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:
        code = _exit_code(error)
    except OSError as error:
        code = _report_system_error(error)
    except Exception:
        code = _report_defect()
    sys.exit(code if isinstance(code, int) else 0)


def _exit_code(error: BrokenPipeError | SystemExit) -> object:
    """0 where the reader of stdout has gone, which click reports as exit 1: that would be a regression."""
    if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
        return error.code
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _report_system_error(error: OSError) -> int:
    """One sentence where the system refuses a named file; a defect otherwise."""
    if error.filename is None or error.strerror is None:
        return _report_defect()
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    _report(f"{name[:200]}: {error.strerror}; correct the name, or what it stands for")
    return 2


def _report_defect() -> int:
    """One sentence: of a damaged store, in which any row may be missing, or of a defect."""
    if damage := next(iter(_damage()), None):
        _report(damage)
        return StoreError.exit_code
    sentence = "this is a defect of kswatch, not a regression; please report it with the lines above"
    _report(sentence, defect=True)
    return EXIT_INTERNAL


def _damage() -> Iterator[str]:
    from kswatch.db.maintenance.stats_and_prune import damage_of

    for services in _composed:
        if damage := damage_of(services.database_url):
            yield damage


def _report(sentence: str, *, defect: bool = False) -> None:
    from kswatch.logs import report_error

    report_error(shorten(sentence, LONGEST_SENTENCE), defect=defect)


if __name__ == "__main__":
    main()
