"""`kswatch gate`: two revisions of the kernels against each other. `bisect` is in bisect_commands."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kswatch.ci.formats.github_commands import append_step_summary
from kswatch.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kswatch.ci.formats.formatter import Telling
    from kswatch.ci.gate.sequential import GateResult
    from kswatch.ci.gate.static import StaticResult
    from kswatch.db.store import Store

app = typer.Typer()
Result = TypeVar("Result")


class Format(StrEnum):
    """How a gate is told."""

    text = "text"
    json = "json"
    junit = "junit"
    markdown = "markdown"
    github = "github"


RepositoryOption = Annotated[
    Path, typer.Option(help="A folder of the git repository whose kernels/ is measured.")
]
DeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, a UUID, its unique prefix or a model name.")
]
SuiteOption = Annotated[
    str | None, typer.Option(help="Suite to measure; by default smoke on a CPU, vit_s16 on a GPU.")
]
PatternOption = Annotated[list[str] | None, typer.Option(help="a,b,c,d; repeatable.")]
BatchOption = Annotated[list[int] | None, typer.Option(help="Repeatable.")]
PrecisionOption = Annotated[list[str] | None, typer.Option(help="fp32, tf32, bf16, fp16; repeatable.")]
LayoutOption = Annotated[list[str] | None, typer.Option(help="batch_first, batch_last; repeatable.")]
ImplementationOption = Annotated[list[str] | None, typer.Option(help="fused or a baseline; repeatable.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
OutputOption = Annotated[Path | None, typer.Option(help="Write it there instead of to stdout.")]
FormatOption = Annotated[Format, typer.Option(help="How to tell it.")]


@app.command()
def gate(
    ctx: typer.Context,
    base: Annotated[str | None, typer.Option(help="The revision to compare with.")] = None,
    head: Annotated[str, typer.Option(help="The revision in question.")] = "HEAD",
    device: DeviceOption = None,
    suite: SuiteOption = None,
    pattern: PatternOption = None,
    batch: BatchOption = None,
    precision: PrecisionOption = None,
    layout: LayoutOption = None,
    implementation: ImplementationOption = None,
    budget: Annotated[
        str, typer.Option(help="Longest time, as 90s or 10m; unclear cells use it up.")
    ] = "10m",
    force: Annotated[
        bool, typer.Option("--force", help="Measure though nothing changed: an A/A test.")
    ] = False,
    static: Annotated[
        bool, typer.Option("--static", help="No GPU: registers, spills and instructions of the machine code.")
    ] = False,
    repository: RepositoryOption = Path(),
    format: FormatOption = Format.text,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Compare two revisions of the kernels; exit 1 on a confirmed regression or an incorrect result.

    Both are measured in turns on one device by the profiler that runs, each in a process of its own, so
    no history is needed. Only what a changed file feeds is measured; uncommitted changes are not seen.

    \b
    Examples:
      kswatch gate --base main --device cpu
      kswatch gate --base HEAD~1 --head HEAD --device cuda --format github
      kswatch gate --base main --pattern 6,64,64,1 --batch 1024 --precision fp32 --budget 3m
      kswatch gate --base HEAD --head HEAD --force     # an A/A test: how noisy is this machine?
      kswatch gate --static --base main --format junit --output gate.xml
    """  # noqa: D301  (\b keeps the lines of the examples)
    chosen = Format.json if as_json else format
    if static:
        code = _judged_code(ctx, repository, base, head)
        _tell(_of_code(code, chosen), output)
        raise typer.Exit(code.exit_code)
    if base is None:
        raise UsageError("say with what to compare: --base REV, as in `kswatch gate --base main`")
    dimensions = (pattern, batch, precision, layout, implementation)
    names = ("pattern", "batch", "precision", "layout", "implementation")
    filters = {name: values for name, values in zip(names, dimensions, strict=True) if values}
    asked = {"repository": repository, "base": base, "head": head, "device": device, "suite": suite}
    result = _measured(ctx, asked | {"filters": filters, "force": force, "budget": budget})
    _tell(_of_gate(result, chosen), output)
    raise typer.Exit(result.exit_code)


def _measured(ctx: typer.Context, asked: dict[str, Any]) -> GateResult:
    from kswatch.ci.gate.sequential import Care, decide

    config = ctx.obj["config"]
    with (
        store_if_any(ctx) as store,
        ctx.obj["open_gate"](config["profiler"], store=store, **asked) as session,
    ):
        return decide(session, Care(floor=config["ci"].floor, budget_s=session.budget_s))


@contextmanager
def store_if_any(ctx: typer.Context) -> Iterator[Store | None]:
    """The store, where there is one: a gate needs none, but is recorded where it can be."""
    from contextlib import closing

    from kswatch.db.store import Store
    from kswatch.errors import StoreError

    url = ctx.obj["database_url"]
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        yield None
        return
    try:
        opened = Store.open(url, create=False)
    except StoreError as error:
        typer.echo(f"kswatch: not recorded: {error}", err=True)
        yield None
        return
    with closing(opened):
        yield opened


def _of_gate(result: GateResult, format: Format) -> str:
    from kswatch.ci.gate.report import TELLING

    return _told(TELLING, result, format)


def _of_code(result: StaticResult, format: Format) -> str:
    from kswatch.ci.gate.static_report import TELLING

    return _told(TELLING, result, format)


def _told(telling: Telling[Result], result: Result, format: Format) -> str:
    from kswatch.db.json_text import to_json_text

    if format is Format.json:
        return to_json_text(telling.rows(result))
    if format is Format.junit:
        return telling.junit(result)
    if format is Format.markdown:
        return telling.markdown(result)
    text = telling.text(result)
    if format is Format.text:
        return text
    append_step_summary(telling.markdown(result))
    return "\n".join(part for part in (text, telling.annotations(result)) if part)


def _tell(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{output} cannot be written ({error.strerror}); name another with --output"
        ) from error


def _judged_code(ctx: typer.Context, repository: Path, base: str | None, head: str) -> StaticResult:
    from kswatch.ci.gate.static import judge_code
    from kswatch.db.compiled_code.resources import record_resources

    result = judge_code(*ctx.obj["compile_revisions"](repository, head, base))
    with store_if_any(ctx) as store:
        if store is not None:
            record_resources(store, result.rows)
    return result
