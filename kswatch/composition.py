"""The services that cross folders, each implemented by the folder that does the work.

Imports are inside the functions, so that a command loads only the folders that it uses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kswatch.ci.config import CiConfig
from kswatch.configuration import database_url, read_config
from kswatch.dashboard.config import DashboardConfig
from kswatch.errors import KswatchError
from kswatch.profiler.config import ProfilerConfig
from kswatch.services import Judged, JudgementLimits, RevisionHistory, Services

if TYPE_CHECKING:
    from kswatch.db.store import Store
    from kswatch.kernels.adoption.plan import Plan


def compose(config: Path | None) -> Services[Store]:
    """The services by a configuration file; by ./kswatch.toml, where there is one, unless a file is named."""
    path = config or Path("kswatch.toml")
    tables = read_config(path, must_exist=config is not None)
    profiler_config, ci_config = tables["profiler"], tables["ci"]
    return Services(
        tables=tuple(tables.values()),
        config_path=path,
        database_url=database_url(tables["db"], path),
        judgement_limits=ci_config.judgement_limits,
        timing_limits=profiler_config.timing_limits,
        dashboard_url=tables["dashboard"].url,
        judge=partial(_judge, ci_config),
        request_confirmation=partial(_request_confirmation, ci_config),
        bisect_alerts=partial(_bisect_alerts, ci_config, profiler_config),
        check_missing_data=partial(_check_missing_data, ci_config),
        predict=_predict,
        request_size=partial(_request_size, profiler_config),
        notify=_notify,
        notification_worker=_notification_worker,
        write_overview=partial(_write_overview, ci_config.judgement_limits, tables["dashboard"]),
        plan_exported=_plan_exported,
        open_gate=partial(_open_gate, profiler_config),
        compile_revisions=_compile_revisions,
        machine_code=_machine_code,
        open_history=_open_history,
        repository_url=partial(_repository_url, tables["dashboard"]),
    )


def _judge(config: CiConfig, store: Store, run_id: int) -> Judged:
    from kswatch.ci.check import judge
    from kswatch.ci.missing_data import check_missing_data

    now = datetime.now(UTC)
    judged = judge(store, run_id, config, now=now)
    check_missing_data(store, config, now)
    return judged


def _request_confirmation(config: CiConfig, store: Store, run_id: int) -> int | None:
    from kswatch.ci.confirmation.request import request_confirmation
    from kswatch.db.queries.basic import run

    return request_confirmation(store, run(store, run_id), config)


def _bisect_alerts(
    config: CiConfig,
    profiler_config: ProfilerConfig,
    store: Store,
    device_uuids: Collection[str],
    stop: threading.Event,
    must_stop: Callable[[], bool],
) -> None:
    import logging

    from kswatch.ci.gate.alert_bisection import bisect_alerts
    from kswatch.profiler.service.bisection import comparisons
    from kswatch.profiler.signals import Stopped

    log = logging.getLogger(__name__)
    if not config.bisect_minutes or not device_uuids:
        return
    try:
        history, open_comparison = comparisons(store, profiler_config, stop)
        bisect_alerts(
            store,
            history,
            open_comparison,
            budget_s=60 * config.bisect_minutes,
            floor=config.floor,
            device_uuids=device_uuids,
            must_stop=lambda: stop.is_set() or must_stop(),
            report=lambda sentence: log.info("%s", sentence),
        )
    except Stopped:
        log.info("bisection stopped; it goes on after the next night")
    except KswatchError as error:
        log.info("regressions are not bisected here: %s", error)
    except Exception:  # a defect here must not end a server, which measures the next night
        log.exception("a defect in the bisection")


def _check_missing_data(config: CiConfig, store: Store) -> None:
    from kswatch.ci.missing_data import check_missing_data

    check_missing_data(store, config, datetime.now(UTC))


def _predict(store: Store, run_id: int) -> None:
    from kswatch.profiler.runs.predictions import record

    record(store, run_id)


def _request_size(config: ProfilerConfig, suite: str, arguments: dict[str, Any]) -> tuple[int, float | None]:
    from kswatch.profiler.foreign.sources import Foreign
    from kswatch.profiler.planning.budget import parse_seconds
    from kswatch.profiler.planning.plan import Filters, plan_suite

    budget = arguments.get("budget")
    foreign = Foreign(config.foreign)
    cells = plan_suite(suite, Filters.from_arguments(arguments), foreign=foreign).cells
    return cells, parse_seconds(str(budget)) if budget else None


def _notify(store: Store) -> list[str]:
    from kswatch.ci.notifications.sender import notify

    return notify(store)


def _notification_worker(database_url: str) -> AbstractContextManager[None]:
    from kswatch.ci.notifications.sender import notification_worker

    return notification_worker(database_url)


def _write_overview(limits: JudgementLimits, config: DashboardConfig, store: Store, path: Path) -> int:
    from kswatch.dashboard.static_export.page import write_overview

    return write_overview(store, path, limits, _repository_url(config))


def _plan_exported(path: Path, batch: int | None, device: str | None, store: Store | None) -> Plan:
    from kswatch.adoption import plan_exported

    return plan_exported(path, batch, device, store)


def _open_gate(config: ProfilerConfig, **request: Any) -> AbstractContextManager[Any]:  # noqa: ANN401
    from kswatch.profiler.ab_runs.session import open_for_command

    return open_for_command(config, **request)


def _compile_revisions(repository: Path, head: str, base: str | None) -> tuple[Any, Any]:
    from kswatch.profiler.revisions.compile_stats import of_revisions

    return of_revisions(repository, head, base)


def _machine_code(code_hashes: Collection[str]) -> dict[str, str]:
    from kswatch.profiler.revisions.machine_code import machine_code

    return machine_code(code_hashes)


def _open_history(folder: Path) -> RevisionHistory:
    from kswatch.profiler.revisions.git import CommitHistory

    return CommitHistory(folder)


def _repository_url(config: DashboardConfig) -> str | None:
    from kswatch.dashboard.formatting.code_urls import repository_address
    from kswatch.profiler.revisions.git import remote_address

    return repository_address(config.repository_url or remote_address(Path()) or "")
