"""`kswatch doctor`: whether this machine is ready to measure, and a fix for each problem.

Each check is a function that returns its findings and changes nothing. Something that measuring can do
without (a GPU, an energy counter) is ok; the text then states the consequence of its absence.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

import kswatch
from kswatch.errors import KswatchError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.executors.dask_security import require_safe_scheduler
from kswatch.profiler.probes import nvml
from kswatch.services import is_in_future

if TYPE_CHECKING:
    from kswatch.db.store import Store

BY_POCL = ("lazylinop", "cpu")
"""The rival that computes by OpenCL, and on what kind of device."""
NAME = "kswatch"
"""The distribution and its one import name."""
FOLDERS = ("kernels", "profiler", "db", "ci", "dashboard")
"""Packages below `kswatch`: in a checkout links to the folders beside it, in an installation real folders."""


@dataclass(frozen=True)
class Check:
    """The result of one check; `cure` is empty where nothing is to be done."""

    name: str
    ok: bool
    what: str
    """The finding."""
    cure: str = ""


def checks(config: ProfilerConfig, database_url: str | None = None) -> list[Check]:
    """Every check, in the order in which failures are best repaired."""
    return [
        Check("python", True, platform.python_version()),
        *import_name(),
        code(),
        torch(),
        compiler(),
        compiled_code(),
        *gpus(),
        *rivals(),
        *foreign(config),
        energy(),
        *configured_devices(config),
        *scheduler(config),
        *store(database_url, config),
        quiet(),
    ]


def import_name(package: Path | None = None) -> Iterator[Check]:
    """Whether `import kswatch` gives this project, complete; `package` is the imported folder."""
    package = package or Path(kswatch.__file__).resolve().parent
    failures = [*_other_owners(), *_other_copies(package), *_lost_links(package)]
    yield from failures or [Check("import name", True, f"{NAME} is imported from {package}")]


def _other_owners() -> Iterator[Check]:
    """A failure for each other distribution that also provides a package called `kswatch`."""
    for owner in sorted({owner for owner in _owners().get(NAME, []) if owner.lower() != NAME}):
        cure = f"pip uninstall {owner}, or use a virtual environment of kswatch's own (make setup)"
        yield Check("import name", False, f"{owner} also provides a package called {NAME}", cure)


@cache
def _owners() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _other_copies(package: Path) -> Iterator[Check]:
    """A failure for each installed copy of the project that is not the imported one."""
    for installed in distributions(name=NAME):
        for file in installed.files or ():
            folder = Path(str(file.locate())).resolve().parent
            if file.as_posix() == f"{NAME}/__init__.py" and folder != package:
                finding = f"{NAME} is imported from {package}, but version {installed.version} is in {folder}"
                cure = f"pip uninstall {NAME}, or run it outside {package.parent}"
                yield Check("import name", False, finding, cure)


def _lost_links(package: Path) -> Iterator[Check]:
    """A failure where a checkout holds a text file or a copy in place of the link to a folder."""
    root = package.parent
    if not (root / "pyproject.toml").is_file():
        return  # an installation holds the folders themselves
    lost = [name for name in FOLDERS if (package / name).resolve() != (root / name).resolve()]
    if lost:
        names = ", ".join(f"{NAME}/{name}" for name in lost)
        finding = f"{names}: no links to the folders beside {NAME}/ (lost by zip files and on Windows)"
        cure = (
            f"clone with git, then: git config core.symlinks true && git checkout -- {NAME} "
            "(on Windows in developer mode)"
        )
        yield Check("import name", False, finding, cure)


def code() -> Check:
    """The revision that runs are recorded with, and whether git may read it."""
    from kswatch.profiler.revisions.code_revision import revision_note, running_revision

    found = running_revision()
    name = found.subject if "+" in found.commit else f"commit {found.commit[:12]}"
    what = f"runs are recorded as {name}" + (", with uncommitted changes" if found.dirty else "")
    note = revision_note()
    return Check("code", not note, f"{note.partition('; ')[0]}; {what}" if note else what, _cure(note))


def _cure(note: str | None) -> str:
    return note.partition("; ")[2] if note else ""


def torch() -> Check:
    """Whether torch can be imported."""
    try:
        import torch as installed
    except (ImportError, OSError) as error:
        return Check("torch", False, f"cannot be imported: {error}", "run make setup")
    return Check("torch", True, f"{installed.__version__}, {devices.cpu_threads()} CPU threads")


def compiler() -> Check:
    """Whether the CPU twin of the fused product can be built; builds it to find out."""
    from kswatch.kernels.fused.cpu_twin import twin

    found = twin.load()
    if isinstance(found, str):
        return Check("compiler", False, f"no CPU twin: {found}", "install g++ (apt install g++)")
    return Check("compiler", True, "the CPU twin is built")


def compiled_code() -> Check:
    """Where compiled code is cached, and whether other users could put theirs there."""
    from kswatch.kernels.fused.artifacts.cache import cache_folder, cache_refusal

    refusal = cache_refusal()
    if refusal:
        reason, _, cure = refusal.partition("; ")
        return Check("compiled code", False, f"{reason}: a private folder is used instead", cure)
    return Check("compiled code", True, f"cached in {cache_folder()}")


def gpus() -> Iterator[Check]:
    """The driver, each GPU, and whether torch and PyCUDA can use them."""
    if reason := nvml.start():
        yield Check("GPU", True, f"none ({reason}); the CPU is measured")
        return
    found = devices.list_targets()[1:]
    if not found:
        cure = "install a torch built for CUDA (see pytorch.org), and check CUDA_VISIBLE_DEVICES"
        yield Check("GPU", False, "there is a driver, but torch sees no GPU", cure)
    for target in found:
        yield _gpu(target)
    yield _pycuda()


def _gpu(target: devices.Target) -> Check:
    from kswatch.profiler.devices.preflight import preflight

    before = preflight(target)
    known = f"{target.torch_device} is {target.record.model}, {target.record.uuid}"
    if before.time_refusal:
        return Check(
            "GPU", False, f"{known}: {before.time_refusal}", "end the other processes, or wait for them"
        )
    return Check("GPU", True, "; ".join((known, *before.notes)))


def _pycuda() -> Check:
    try:
        import pycuda.driver
    except (ImportError, OSError) as error:
        return Check("PyCUDA", False, f"cannot be imported: {error}", "pip install 'kswatch[gpu]'")
    return Check("PyCUDA", True, ".".join(map(str, pycuda.VERSION)))


def rivals() -> Iterator[Check]:
    """Each rival of the expert set that a device of this machine could have, with what it lacks here."""
    from kswatch.kernels.baselines.rival_libraries import RIVAL_LIBRARIES, missing_libraries, rival_versions

    kinds = ("cpu",) if nvml.start() else ("cuda", "cpu")
    for rival, libraries in RIVAL_LIBRARIES.items():
        kind = next((one for one in kinds if one in libraries.needed), None)
        if kind is None:
            continue
        reason = missing_libraries(rival, kind) or (_opencl_refusal() if (rival, kind) == BY_POCL else None)
        versions = ", ".join(f"{name} {text}" for name, text in rival_versions(kind).get(rival, {}).items())
        yield Check("rival", True, f"{rival}: {reason or versions}")


def _opencl_refusal() -> str | None:
    """Why no OpenCL of this machine computes on its CPU; a tiny program shows whether one does."""
    from kswatch.kernels.baselines.lazylinop import usable_pocl

    try:
        usable_pocl(devices.cpu_threads())
    except KswatchError as error:
        return str(error)
    return None


def foreign(config: ProfilerConfig) -> Iterator[Check]:
    """Each implementation and suite of another project that is installed, and whether it can be imported."""
    from kswatch.profiler.foreign.sources import IMPLEMENTATION_GROUP, SUITE_GROUP, installed, refusal
    from kswatch.profiler.foreign.trial import try_out

    every = [source for group in (IMPLEMENTATION_GROUP, SUITE_GROUP) for source in installed(group)]
    for source in every:
        of_group = [one for one in every if one.group == source.group]
        if reason := refusal(source, of_group):
            yield Check("foreign", False, reason, f"pip uninstall {source.library}")
            continue
        trial = try_out(source)
        if trial.failure:
            cure = f"repair {source.library}, or uninstall it"
            yield Check("foreign", source.name not in config.foreign, trial.failure, cure)
            continue
        where = "for requests and nights" if source.name in config.foreign else "for `kswatch profile` alone"
        notes = (trial.statement, trial.unsupported and f"not on the CPU: {trial.unsupported}", where)
        yield Check("foreign", True, f"{source.in_words}: {'; '.join(filter(None, notes))}")
    for name in sorted(set(config.foreign) - {source.name for source in every}):
        cure = "install its package, or remove the name from [profiler] foreign"
        yield Check(
            "foreign", False, f"no installed package has {name}, which [profiler] foreign lists", cure
        )


def energy() -> Check:
    """The energy counter of each device, or the reason why there is none."""
    from kswatch.profiler.devices.preflight import energy_refusal
    from kswatch.profiler.probes.energy_rapl import rapl_refusal

    findings = []
    for target in devices.list_targets():
        refusal = rapl_refusal() if target.record.kind == "cpu" else energy_refusal(target)
        findings.append(f"{target.torch_device}: {refusal or 'counted'}")
    return Check("energy", True, "; ".join(findings))


def configured_devices(config: ProfilerConfig) -> Iterator[Check]:
    """Whether the devices of the nightly run are present."""
    for spec in config.devices:
        try:
            target = devices.find(spec)
        except KswatchError as error:
            yield Check("nightly device", False, str(error), "change profiler.devices in kswatch.toml")
        else:
            yield Check("nightly device", True, f"{spec} is {target.record.model}")


def scheduler(config: ProfilerConfig) -> Iterator[Check]:
    """Whether strangers could run code through the Dask scheduler of the configuration."""
    if not config.scheduler:
        return
    try:
        require_safe_scheduler(config.scheduler)
    except KswatchError as error:
        reason, _, cure = str(error).partition("; ")
        yield Check("scheduler", False, reason, cure)
    else:
        yield Check("scheduler", True, f"{config.scheduler}: on this machine, or encrypted")


def store(database_url: str | None, config: ProfilerConfig | None = None) -> Iterator[Check]:
    """Whether measurements can be written, and what wrong clocks and killed processes left behind.

    A store that does not exist yet is not created, and an empty file is left as it is.
    """
    if database_url is None:
        return
    from kswatch.db.backend.engine import file_of, missing_file
    from kswatch.db.store import Store

    try:
        path = missing_file(database_url)
        file = file_of(database_url)
    except KswatchError as error:
        yield Check("store", False, str(error), "correct KSWATCH_DATABASE_URL or [db] url")
        return
    if file is not None:
        yield from _lost_files(file)
    if path is not None:
        writable = os.access(path.parent, os.W_OK)
        finding = f"{path} will be created" if writable else f"{path.parent} cannot be written"
        cure = "" if writable else "set KSWATCH_DATABASE_URL to another place"
        yield Check("store", writable, finding, cure)
        return
    if file is not None and file.stat().st_size == 0:
        cure = "restore a backup, or delete it: the next run makes a new store"
        yield Check("store", False, f"{file} is empty, 0 bytes: a full disk or a failed copy left it", cure)
        return
    try:
        opened = Store.open(database_url, create=False)
    except KswatchError as error:
        yield Check("store", False, str(error), "follow the message; nothing was changed")
        return
    with closing(opened):
        yield Check("store", True, opened.name)
        yield from _encoding(opened)
        yield from _clock_findings(opened, config or ProfilerConfig())
        yield from _killed_runs(opened)


def _encoding(opened: Store) -> Iterator[Check]:
    """A failure where the server's database cannot hold every text."""
    if opened.engine.dialect.name != "postgresql":
        return
    with opened.engine.connect() as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding not in ("UTF8", "SQL_ASCII"):
        cure = "move it into a database made by CREATE DATABASE ... ENCODING 'UTF8' (pg_dump, psql)"
        yield Check(
            "store", False, f"its encoding is {encoding}: texts with other characters are refused", cure
        )


def _lost_files(path: Path) -> Iterator[Check]:
    """A failure where the store's file was deleted or replaced, and its contents are elsewhere."""
    for copy in sorted(path.parent.glob(f"{path.name}.rescued-*")):
        cure = "compare it with the store (kswatch runs), import what is missing, and move it away"
        yield Check("store file", False, f"the file was lost while in use; {copy} holds what it held", cure)
    deleted = f"{path.absolute()} (deleted)"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if any(os.readlink(file) == deleted for file in (process / "fd").iterdir()):
                finding = f"process {process.name} still writes to a file that was deleted or replaced"
                yield Check("store file", False, f"{path}: {finding}", f"stop it: kill {process.name}")


def _clock_findings(opened: Store, config: ProfilerConfig) -> Iterator[Check]:
    """A failure for each time in the store that only a wrong clock can have written."""
    from kswatch.db.coordination import leases, schedule
    from kswatch.db.queries import basic as queries
    from kswatch.profiler.service.schedule import next_due, read_schedule

    now = datetime.now(UTC)
    correct = "correct the clock (timedatectl)"
    last = schedule.last_due(opened, "nightly")
    due = next_due(read_schedule(config.nightly_cron, config.timezone), now)
    if last and due and last > due:
        finding = f"the last night is marked as of {last:%Y-%m-%d %H:%M} UTC, in the future"
        yield Check("clock", False, finding, f"{correct}; kswatch serve then corrects the mark")
    for device in leases.future_leases(opened):
        finding = f"the lease of device {device} was renewed in the future"
        yield Check("clock", False, finding, f"{correct}; the next run then corrects the lease")
    ahead = [run for run in queries.runs(opened, limit=1000) if is_in_future(run.started_at, now)]
    if ahead:
        finding = f"run {ahead[0].id} is dated {ahead[0].started_at:%Y-%m-%d %H:%M} UTC, in the future"
        more = f" ({len(ahead)} such runs)" if len(ahead) > 1 else ""
        exclude = f"kswatch runs exclude {ahead[0].id} --reason 'wrong clock'"
        yield Check("clock", False, finding + more, f"{correct}; {exclude}")


def _killed_runs(opened: Store) -> Iterator[Check]:
    """A failure for each run whose process has ended before the run."""
    from kswatch.db.coordination import leases
    from kswatch.db.queries import basic as queries
    from kswatch.profiler.liveness.process_identity import has_ended

    for run in queries.runs(opened, kinds=("nightly", "ad_hoc"), states=("running",), limit=None):
        holder = leases.holder_of(opened, run.device_uuid)
        if holder is None or has_ended(holder):
            done, planned = len(opened.done_cells(run.id)), run.planned_cells
            rest = "all cells are measured" if done == planned else f"{done} of {planned} cells are measured"
            finding = f"run {run.id} was killed before its end; {rest}"
            yield Check("killed run", False, finding, f"kswatch profile --resume {run.id}, or kswatch serve")


def quiet() -> Check:
    """Whether other programs are using the CPU now."""
    from kswatch.profiler.devices.preflight import preflight

    notes = preflight(devices.cpu_target()).notes
    if notes:
        return Check("quiet machine", True, "; ".join(notes))
    return Check("quiet machine", True, "no other program is using the CPU")
