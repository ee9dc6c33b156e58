"""A store's file that is deleted or replaced while it is in use."""

import shutil
import sqlite3
from datetime import UTC, datetime

import pytest

from kswatch.db.coordination import schedule
from kswatch.db.store import Store
from kswatch.errors import StoreError

AT = datetime(2026, 3, 1, 2, tzinfo=UTC)


@pytest.fixture
def opened(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/kswatch.db")
    mark(store, "before")
    yield store
    store.close()


def mark(store, name):
    with store.writing() as session:
        schedule.mark_due(session, name, AT)


def marks(path):
    with sqlite3.connect(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM schedule_mark")}


def delete(path):
    path.unlink()


def move(path):
    path.rename(path.with_name("elsewhere.db"))


def replace(path):
    other = path.with_name("other.db")
    Store.open(f"sqlite:///{other}").close()
    other.replace(path)


def restore(path):
    copy = path.with_name("backup.db")
    shutil.copy(path, copy)
    copy.replace(path)


@pytest.mark.parametrize("change", [delete, move, replace, restore])
def test_a_write_to_a_file_that_is_gone_is_refused_and_its_contents_are_kept(opened, tmp_path, change):
    change(tmp_path / "kswatch.db")
    with pytest.raises(StoreError, match="deleted|replaced") as refused:
        mark(opened, "after")
    (copy,) = tmp_path.glob("kswatch.db.rescued-*")
    assert str(copy) in str(refused.value)
    assert marks(copy) == {"before"}


def test_a_file_deleted_in_the_middle_of_a_transaction_is_noticed_after_its_commit(opened, tmp_path):
    with pytest.raises(StoreError, match="was deleted"), opened.writing() as session:
        schedule.mark_due(session, "during", AT)
        delete(tmp_path / "kswatch.db")
    (copy,) = tmp_path.glob("kswatch.db.rescued-*")
    assert marks(copy) == {"before", "during"}


def test_later_writes_are_refused_too_and_make_no_second_copy(opened, tmp_path):
    delete(tmp_path / "kswatch.db")
    for name in ("first", "second"):
        with pytest.raises(StoreError, match="kept in"):
            mark(opened, name)
    assert len(list(tmp_path.glob("*.rescued-*"))) == 1
    assert not (tmp_path / "kswatch.db").exists()


def test_a_file_that_is_written_by_others_is_the_same_file(opened, tmp_path):
    other = Store.open(f"sqlite:///{tmp_path}/kswatch.db")
    mark(other, "other")
    other.close()
    mark(opened, "own")
    assert marks(tmp_path / "kswatch.db") == {"before", "other", "own"}
