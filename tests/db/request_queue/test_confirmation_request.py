from __future__ import annotations

import pytest

from kswatch.db.records import ProblemKey
from kswatch.db.request_queue.confirmation import ConfirmationRequest, parse_problem, problem_text
from kswatch.errors import UsageError

PROBLEM = ProblemKey(6, 64, 64, 1, 1024, "fp32", "batch_first")
STORED = {
    "problem": ["6,64,64,1,1024,fp32,batch_first"],
    "budget": "10m",
    "of_run": 7,
    "flagged": ["fused"],
    "good_revision": "a" * 40,
    "bad_revision": "b" * 40,
}
"""The arguments of a confirmation as version 0.1.0 stored them."""


def test_stored_arguments_are_read_and_written_with_the_same_keys_and_values():
    request = ConfirmationRequest.from_arguments(STORED)
    assert request == ConfirmationRequest(7, (PROBLEM,), ("fused",), "10m", "a" * 40, "b" * 40)
    assert request.as_arguments() == STORED


def test_a_request_without_two_revisions_holds_the_reason():
    stored = {"problem": [], "flagged": [], "of_run": 7, "why_alone": "no revision is known"}
    request = ConfirmationRequest.from_arguments(stored)
    assert (request.good_revision, request.why_alone) == (None, "no revision is known")
    assert request.as_arguments() == stored


def test_arguments_of_another_request_are_no_confirmation():
    assert ConfirmationRequest.from_arguments({"pattern": ["6,64,64,1"]}) is None


def test_a_problem_is_read_as_it_is_written():
    assert parse_problem(problem_text(PROBLEM)) == PROBLEM


@pytest.mark.parametrize("text", ["", "6,64,64,1", "6,64,64,1,many,fp32,batch_first", "6,64,64,1,2,fp32,x,y"])
def test_a_malformed_problem_is_refused(text):
    with pytest.raises(UsageError, match="write a,b,c,d,batch,precision,layout"):
        parse_problem(text)
