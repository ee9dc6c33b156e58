"""Options and arguments that several commands share, so that each has one name, type and help text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ComparedMetric(StrEnum):
    """Metrics of a comparison."""

    LATENCY = "latency"
    ENERGY = "energy"


class Precision(StrEnum):
    """Storage and arithmetic of a product."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP64 = "fp64"
    COMPLEX64 = "complex64"
    FP8 = "fp8"


class Layout(StrEnum):
    """The axis of X that is the batch."""

    BATCH_FIRST = "batch_first"
    BATCH_LAST = "batch_last"


class BaselineSetName(StrEnum):
    """Sets of baselines that a run can measure."""

    PAPER = "paper"
    ALL = "all"
    EXPERT = "expert"


class OutputFormat(StrEnum):
    """Output formats of a judgement."""

    text = "text"
    json = "json"
    junit = "junit"
    markdown = "markdown"
    github = "github"
    comment = "comment"


LARGEST_NUMBER = 2**31 - 1
"""Largest number of a run, request or alert, and largest count: a column of 32 bits holds it."""
LARGEST_SEED = 2**63 - 1
MOST_DAYS = 36_500
"""A hundred years: dates before then exist on every system."""

CommentOption = Annotated[
    Path | None,
    typer.Option("--comment", help="Also write the comment to this file; empty where nothing changed."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
FormatOption = Annotated[OutputFormat, typer.Option("--format", help="Output format.")]

# of what the store holds
DeviceOption = Annotated[str | None, typer.Option(help="UUID, unique prefix, model name or cpu.")]
RunOption = Annotated[
    int | None, typer.Option(min=1, max=LARGEST_NUMBER, help="Only measurements of this run.")
]
MetricOption = Annotated[ComparedMetric, typer.Option(help="Metric to compare.")]
PrecisionOption = Annotated[Precision | None, typer.Option(help="Only this precision.")]
LayoutOption = Annotated[Layout | None, typer.Option(help="Only this layout.")]
BaselinesOption = Annotated[
    str | None,
    typer.Option(
        help="Set of baselines: expert, all (stock torch) or paper; or names, comma-separated. "
        "By default the set of the newest run."
    ),
]

# of what is to be measured
MeasuredDeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, a UUID, a unique prefix of one, or a model name.")
]
LayersOption = Annotated[list[str] | None, typer.Option("--layer", help="Layer IN,OUT; repeatable.")]
ModelsOption = Annotated[
    list[str] | None, typer.Option("--model", help="Model of the suite, as vit_s16; repeatable.")
]
PatternsOption = Annotated[list[str] | None, typer.Option("--pattern", help="Pattern a,b,c,d; repeatable.")]
BatchesOption = Annotated[
    list[int] | None,
    typer.Option("--batch", min=1, max=LARGEST_NUMBER, help="Batch size; repeatable."),
]
PrecisionsOption = Annotated[
    list[str] | None, typer.Option("--precision", help=f"{', '.join(Precision)}; repeatable.")
]
LayoutsOption = Annotated[
    list[str] | None, typer.Option("--layout", help="batch_first, batch_last; repeatable.")
]
BaselineSetOption = Annotated[
    BaselineSetName | None,
    typer.Option(
        help="Set of baselines to measure: paper, all (stock torch) or expert (all that can be had); "
        "by default all, of a night that of kswatch.toml."
    ),
]
ImplementationsOption = Annotated[
    list[str] | None, typer.Option("--implementation", help="fused or a baseline; repeatable.")
]

# of who does it, and why
UserOption = Annotated[str | None, typer.Option("--who", help="Your name; by default your login name.")]
WhyOption = Annotated[str | None, typer.Option("--why", help="Reason, shown with the request.")]
