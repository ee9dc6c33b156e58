"""The file by which a supervisor sees that a server goes on."""

from __future__ import annotations

import os

import pytest

from kswatch.errors import ConfigurationError
from kswatch.profiler.liveness.alive_file import alive_file


def test_the_file_is_there_from_the_first_moment_and_gone_after_an_orderly_end(tmp_path):
    path = tmp_path / "alive"
    with alive_file(path) as alive:
        assert path.read_text().split()[1] == str(os.getpid())
        os.utime(path, (0, 0))
        alive.write()
        assert path.stat().st_mtime > 1e9
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with alive_file(None) as alive:
        alive.write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with (
        pytest.raises(ConfigurationError, match="cannot be written .*--alive-file"),
        alive_file(tmp_path / "no" / "alive"),
    ):
        pass


def test_what_cannot_be_written_later_ends_no_night_and_leaves_no_parts(tmp_path, caplog):
    path = tmp_path / "alive"
    with alive_file(path) as alive:
        path.unlink()
        path.mkdir()
        (path / "file").touch()  # a folder in its place, as a full disk, is no reason to stop measuring
        alive.write()
        alive.write()
        assert len(caplog.records) == 1 and "cannot be written" in caplog.text
        assert list(tmp_path.iterdir()) == [path]
        (path / "file").unlink()
        path.rmdir()
        alive.write()
        assert path.is_file()


def test_a_supervisor_of_another_user_may_read_it(tmp_path):
    with alive_file(tmp_path / "alive"):
        assert (tmp_path / "alive").stat().st_mode & 0o777 == 0o644
