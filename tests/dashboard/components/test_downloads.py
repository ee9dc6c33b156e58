import io

import pandas as pd

from kswatch.dashboard.components.downloads import csv, file_name

ABOUT = {"device": "NVIDIA H200, 2", "run": "12", "precision": "fp32", "batch": "1024"}


def test_a_file_is_named_after_its_subject() -> None:
    assert file_name("speedup", ABOUT) == "speedup_NVIDIA-H200-2_run-12_fp32_1024.csv"
    assert file_name("speedup", {}) == "speedup.csv"


def test_facts_of_the_subject_are_columns_unless_the_data_have_them() -> None:
    data = pd.DataFrame({"problem": ["=1+1"], "run_id": [7], "batch": [196]})
    read = pd.read_csv(io.BytesIO(csv(data, ABOUT)))
    assert list(read.columns) == ["problem", "run_id", "batch", "device", "precision"]
    assert read.loc[0, "device"] == "NVIDIA H200, 2"
    assert read.loc[0, "batch"] == 196
    assert read.loc[0, "problem"] != "=1+1"
