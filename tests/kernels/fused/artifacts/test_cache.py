"""The folder of compiled code: nothing is loaded from where another user could have put it."""

import os
import subprocess
import sys

import pytest

from kswatch.kernels.fused.artifacts import cache
from kswatch.kernels.fused.artifacts.cache import cache_folder, cache_refusal


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    folder = tmp_path / "chosen"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("KSWATCH_CACHE", str(folder))
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    cache._private_folder.cache_clear()
    yield folder
    cache._private_folder.cache_clear()


def test_a_folder_of_ones_own_is_used(chosen):
    assert (cache_folder(), cache_refusal()) == (chosen, None)


def test_a_folder_that_does_not_exist_yet_is_used(chosen):
    chosen.rmdir()
    assert (cache_folder(), cache_refusal()) == (chosen, None)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o706])
def test_a_folder_that_others_may_write_to_is_not_used(chosen, mode, caplog):
    chosen.chmod(mode)
    private = cache_folder()
    assert private != chosen and private.stat().st_mode & 0o777 == 0o700
    assert "other users may write" in cache_refusal() and "KSWATCH_CACHE" in cache_refusal()
    assert str(private) in caplog.text
    assert cache_folder() == private


def test_a_folder_that_others_may_replace_is_not_used(chosen):
    chosen.parent.chmod(0o777)
    assert cache_folder() != chosen
    assert "replace" in cache_refusal()
    chosen.parent.chmod(0o1777)  # as /tmp: only the owner may replace
    assert cache_folder() == chosen


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_not_used(chosen):
    os.chown(chosen, 12345, 12345)
    assert cache_folder() != chosen
    assert "belongs to another user" in cache_refusal()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_the_private_folder_s_name_taken_by_another_user_is_not_used_either(chosen, tmp_path):
    taken = tmp_path / f"kswatch-{os.geteuid()}"
    taken.mkdir()
    os.chown(taken, 12345, 12345)
    chosen.chmod(0o777)
    assert cache_folder() not in (chosen, taken)


def test_a_link_in_place_of_the_private_folder_is_not_followed(chosen, tmp_path):
    (tmp_path / f"kswatch-{os.geteuid()}").symlink_to(chosen)
    chosen.chmod(0o777)
    assert not cache_folder().resolve().is_relative_to(chosen)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without an entry")
def test_a_user_without_home_and_entry_has_a_private_folder(tmp_path):
    code = (
        "import os\n"
        "from kswatch.kernels.fused.artifacts.cache import cache_folder, cache_refusal\n"
        "os.setuid(54321)\n"
        "print(cache_folder().stat().st_uid, cache_refusal())"
    )
    hidden = ("HOME", "KSWATCH_CACHE", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    tmp_path.chmod(0o1777)
    environment |= {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, cwd=os.getcwd()
    )
    assert done.stdout.startswith("54321 ") and "no home folder" in done.stdout
