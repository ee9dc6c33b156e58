"""What importing the layer loads: a model's start-up must not pay for compilers and stores."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["torch._dynamo", "torch._inductor", "sqlalchemy", "streamlit", "onnx", "kswatch.db.store"]
)
def test_importing_the_layer_loads_no_compiler_and_no_store(loaded: frozenset[str], module: str) -> None:
    assert module not in loaded


@pytest.fixture(scope="module")
def loaded() -> frozenset[str]:
    """The modules that are loaded after the import."""
    code = "from kswatch import KSLinear; KSLinear; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())
