from __future__ import annotations

import os
import resource
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text

from kswatch.db.backend.engine import NETWORK_FILE_SYSTEMS, file_system_of
from kswatch.db.maintenance.stats_and_prune import faults
from kswatch.db.migrations.revisions import HEAD
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from kswatch.errors import ConfigurationError, StoreError
from tests.cpu_time import least_cpu_s
from tests.db.sample_records import measured, night, problem, run_record


def test_a_missing_store_is_created(empty_url):
    store = Store.open(empty_url)
    assert queries.runs(store) == []


def test_a_store_of_a_newer_version_is_refused_and_left_alone(url):
    store = Store.open(url)
    with store.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        StoreError, match=f"newer kswatch .schema 9999, this one knows {HEAD}.; update kswatch"
    ):
        Store.open(url)


def test_tables_of_something_else_are_left_alone(empty_url):
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE recipes (id INTEGER)"))
    engine.dispose()
    with pytest.raises(StoreError, match="tables that are not ours .recipes."):
        Store.open(empty_url)


def test_a_missing_store_is_not_created_for_reading(tmp_path):
    with pytest.raises(StoreError, match="does not exist; `kswatch nightly`"):
        Store.open(f"sqlite:///{tmp_path / 'none.db'}", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match="there is no folder .*/deep; create it"):
        Store.open(f"sqlite:///{tmp_path / 'deep' / 'kswatch.db'}")


@pytest.mark.parametrize("url", ["kswatch.db", "oracle+nonsense://x/y", "sqlite//x"])
def test_an_invalid_url_is_a_configuration_error(url):
    with pytest.raises(ConfigurationError, match="is not the URL of a store"):
        Store.open(url)


def test_the_error_of_an_unreachable_server_hides_the_password():
    with pytest.raises(StoreError, match="the server does not answer") as raised:
        Store.open("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_left_unchanged(tmp_path):
    path = tmp_path / "kswatch.db"
    path.write_text("the shopping list " * 100)
    with pytest.raises(StoreError, match="no SQLite database; move it away"):
        Store.open(f"sqlite:///{path}")
    assert path.read_text().startswith("the shopping list")


def test_the_error_of_a_damaged_file_has_the_cure(tmp_path):
    path = tmp_path / "kswatch.db"
    store = Store.open(f"sqlite:///{path}")
    night(store, {"fused": 1.0, "bmm": 2.0})
    store.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    with pytest.raises(StoreError, match="damaged; move it away and `kswatch import`"):
        queries.runs(Store.open(f"sqlite:///{path}"))


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_the_file_system_is_that_of_the_deepest_mount(tmp_path, kind):
    mounts = tmp_path / "mounts"
    folder = tmp_path / "a b" / "c"
    folder.mkdir(parents=True)
    escaped = str(folder.parent).replace(" ", "\\040")
    mounts.write_text(f"disk / ext4 rw 0 0\nserver:/x {escaped} {kind} rw 0 0\nproc /proc proc rw 0 0\n")
    assert file_system_of(folder, mounts) == kind
    assert kind in NETWORK_FILE_SYSTEMS
    assert file_system_of(tmp_path, mounts) == "ext4"


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("kswatch.db.backend.engine.file_system_of", lambda folder: "nfs4")
    with pytest.raises(StoreError, match="network file system .nfs4.*use PostgreSQL"):
        Store.open(f"sqlite:///{tmp_path / 'kswatch.db'}")


def test_a_read_only_folder_is_refused():
    # not below pytest's own folder, which nobody but its owner may enter
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Store.open(f"sqlite:///{folder / 'kswatch.db'}").close()
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IROTH | stat.S_IXOTH)
        message = as_nobody(lambda: Store.open(f"sqlite:///{folder / 'kswatch.db'}"))
        folder.chmod(stat.S_IRWXU)
    assert message.startswith("StoreError")
    assert f"{folder} cannot be written; make it writable" in message


def test_a_store_in_a_read_only_folder_can_be_read():
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "kswatch.db"
        store = Store.open(f"sqlite:///{path}")
        night(store, {"fused": 1.0})
        read = in_a_closed_folder(path, lambda: queries.runs(Store.open(f"sqlite:///{path}", create=False)))
        assert "its newest nights are not in the file yet" in read, "the writer has not closed"
        store.close()

        def look() -> None:
            closed = Store.open(f"sqlite:///{path}", create=False)
            assert len(queries.measurements(closed)) == 1
            closed.begin_run(run_record())

        assert "cannot be written; make the file and its folder writable" in in_a_closed_folder(path, look)


def in_a_closed_folder(path: Path, action: Callable[[], object]) -> str:
    """What an action says to who may read the store and its folder but not write."""
    path.chmod(0o444)
    path.parent.chmod(0o555)
    message = as_nobody(action)
    path.parent.chmod(stat.S_IRWXU)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return message


def as_nobody(action: Callable[[], object]) -> str:
    """What an action says in a child process that is not root: root may write everywhere."""
    return in_child(lambda: (os.getuid() == 0 and os.setuid(65534), action()))


def in_child(action: Callable[[], object]) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        message = "nothing"
        try:
            action()
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, message.encode()[:4000])
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    return message


def test_writing_to_a_store_opened_for_reading_is_an_error(tmp_path):
    path = tmp_path / "kswatch.db"
    Store.open(f"sqlite:///{path}").close()
    store = Store.open(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert queries.runs(store) == []
    with pytest.raises(StoreError, match="cannot be written; make the file and its folder writable"):
        store.begin_run(run_record())


def test_a_full_disk_loses_nothing_that_was_recorded(sqlite_store):
    run_id = night(sqlite_store, {"fused": 1.0, "bmm": 2.0})
    with sqlite_store.session() as session:
        pages = session.scalar(text("PRAGMA page_count"))
    sqlite_store.engine.dispose()

    limit = f"PRAGMA max_page_count = {pages + 2}"
    event.listen(sqlite_store.engine, "connect", lambda connection, _: connection.execute(limit))
    noise = tuple(i / 7 for i in range(10_000))
    with pytest.raises(StoreError, match="the disk is full; nothing recorded is lost"):
        sqlite_store.record_problem(run_id, [measured(problem(2), "fused", 1.0, samples_ms=noise)])
    assert len(queries.measurements(sqlite_store, run_id)) == 2


def test_a_file_that_cannot_grow_is_an_error_and_stays_intact(tmp_path):
    path = tmp_path / "kswatch.db"
    url = f"sqlite:///{path}"
    run_id = night(Store.open(url), {"fused": 1.0, "bmm": 2.0})

    noise = tuple(i / 7 for i in range(1_000))

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = 400_000 + sum(file.stat().st_size for file in tmp_path.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        store = Store.open(url)
        for d in range(2, 1_000):
            store.record_problem(run_id, [measured(problem(d), "fused", 1.0, samples_ms=noise)])

    message = in_child(fill)
    assert message.startswith("StoreError")
    assert "the disk refuses to write" in message
    store = Store.open(url)
    assert faults(store) == []
    assert len(queries.measurements(store, run_id)) > 2


def test_opening_an_up_to_date_store_is_fast_and_does_not_load_alembic(tmp_path):
    url = f"sqlite:///{tmp_path / 'kswatch.db'}"
    Store.open(url).close()
    alembic = {name: module for name, module in sys.modules.items() if name.startswith("alembic")}
    for name in alembic:
        del sys.modules[name]
    try:
        took_s = least_cpu_s(lambda: Store.open(url).close(), repeats=5)
        assert not any(name.startswith("alembic") for name in sys.modules)
    finally:
        sys.modules.update(alembic)
    assert took_s < 0.05
