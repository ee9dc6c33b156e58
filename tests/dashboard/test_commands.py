import socket
import subprocess
import sys

import pytest

from dashboard.commands import HOST, refuse_taken_port, streamlit_arguments
from dashboard.page_list import PAGES
from kswatch_errors import UsageError


def test_a_taken_port_is_refused_with_another_to_try() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port + 1}"):
            refuse_taken_port(port)


def test_the_server_listens_on_this_machine_only_and_tells_nobody() -> None:
    arguments = streamlit_arguments(9000)
    assert "--server.address=127.0.0.1" in arguments
    assert "--browser.gatherUsageStats=false" in arguments
    assert "--server.port=9000" in arguments


def test_the_pages_import_no_torch() -> None:
    code = "import sys, dashboard.page_list; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_no_page_is_named_like_a_module_of_the_language_or_a_folder_of_ours() -> None:
    names = {entry.show.__module__.rpartition(".")[2] for entry in PAGES}
    assert not names & (
        set(sys.stdlib_module_names) | {"profiler", "kernels", "dashboard", "db", "ci", "tests"}
    )
