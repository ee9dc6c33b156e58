"""`kswatch comment`: writes the comments of gates and checks to the change under review."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from kswatch.errors import ConfigurationError, FormatError, KswatchError, UsageError

LARGEST_FILE_BYTES = 1_000_000

app = typer.Typer()


@app.command()
def comment(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Comments by `--comment`; a folder stands for its .md files."),
    ],
    expect: Annotated[
        list[str] | None,
        typer.Option(help="A comment NAME.md that must be there; a missing one did not finish. Repeatable."),
    ] = None,
) -> None:
    """Write one comment to the change under review, in place of an earlier one of kswatch.

    Runs in a job of a GitHub pull request or a GitLab merge request, whose variables name the change. The
    token is GITHUB_TOKEN (permission `pull-requests: write`) or GITLAB_TOKEN (scope `api`). Nothing is
    written where all files are empty; an earlier comment then becomes one line. A job that failed before it
    wrote its file is no calm one, so a workflow names the files that it expects.

    \b
    Examples:
      kswatch gate --base main --format github --comment comments/gate.md
      kswatch comment comments
      kswatch comment comments --expect static --expect h100
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.code_hosts.change import update_comment
    from kswatch.ci.code_hosts.hosts import host_of_job
    from kswatch.ci.formats.comment import not_finished

    found = {path: _read(path) for path in _files(files)}
    missing = set(expect or ()) - {path.stem for path in found}
    parts = [*map(not_finished, sorted(missing)), *found.values()]
    if not parts:
        raise UsageError(f"{files[0]} holds no .md file; no gate wrote a comment, so none is changed")
    typer.echo(update_comment(host_of_job(os.environ), parts))


def _files(given: list[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            yield from sorted(path.rglob("*.md"))
        elif path.exists() or path.suffix == ".md":  # no folder at all means that no job wrote a file
            yield path


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); name a comment") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise FormatError(f"{path} is larger than {LARGEST_FILE_BYTES:,} bytes: it is no comment of kswatch")
    return content.decode("utf-8", "replace")


def write_file(path: Path, text: str) -> None:
    """Write a report, with a line feed at its end unless it is empty.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if text.endswith("\n") or not text else f"{text}\n", encoding="utf-8")
    except OSError as error:
        if path.is_file() and not path.is_symlink():
            path.unlink()  # what is left of it, perhaps nothing, would be read as a calm comment
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}); name another") from error


@contextmanager
def comment_of_failure(title: str, path: Path | None) -> Iterator[None]:
    """Until the result is written, the file holds that it did not finish: an empty one is a calm change.

    Raises:
        KswatchError: that of the block, after its sentence was written as the comment.
    """
    from kswatch.ci.formats.comment import comment as comment_text
    from kswatch.ci.formats.comment import not_finished
    from kswatch.ci.formats.escape import markdown

    if path is None:
        yield
        return
    write_file(path, not_finished(title))
    try:
        yield
    except KswatchError as error:
        write_file(path, comment_text(f"**{title}** could not measure: {markdown(str(error))}", (), ()))
        raise
