"""Requests made from the description of the API, and what of the answers does not fit it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Keys of bodies that name files of this machine.
_PATHS = {"paths", "old", "new", "folder", "file"}
_PATIENCE_S = 60


@dataclass
class Findings:
    """Statuses by operation, and what was wrong, each once."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return sum(counter.total() for counter in self.statuses.values())


def findings(address: str, *, folder: str, examples: int, number: int = 0) -> Findings:
    """Send so many requests for each operation, good ones and bad ones, and check each answer.

    Jobs are cancelled as soon as they have begun, and must not end with an internal error.

    Parameters
    ----------
    folder
        Absolute paths in bodies are taken for paths below it.
    number
        Seed of the choice of requests.
    """
    found = Findings()
    schema = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        if not operation.path.endswith("/events"):  # a stream does not end
            for mode in schemathesis.GenerationMode:
                cases = operation.as_strategy(generation_mode=mode)
                _try(operation, cases, address, folder, found, examples=examples, number=number)
    return found


def _try(
    operation: Any,
    cases: Any,
    address: str,
    folder: str,
    found: Findings,
    *,
    examples: int,
    number: int,
) -> None:
    """Send requests for one operation."""
    statuses = found.statuses.setdefault(operation.label, Counter())

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def one(case: Any) -> None:
        case.body = _below(case.body, folder)
        if "{name}" in case.path:  # of other collections there is nothing to say
            case.path_parameters["name"] = "default"
        try:
            answer = case.call(base_url=address, timeout=_PATIENCE_S)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=_CHECKS)
            if answer.status_code == 202 and not case.path.endswith("/cancel"):
                _end(f"{address}{answer.headers['location'][0]}")
        except Exception as error:
            found.faults.setdefault(f"{operation.label}: {type(error).__name__}", str(error)[:1500])

    with contextlib.suppress(Unsatisfiable):  # there are no bad requests for some
        one()


def _end(job: str) -> None:
    """Cancel a job, and wait until it has ended."""
    requests.post(f"{job}/cancel", json={}, timeout=_PATIENCE_S).raise_for_status()
    end = time.monotonic() + _PATIENCE_S
    while (said := requests.get(job, timeout=_PATIENCE_S).json())["state"] == "running":
        assert time.monotonic() < end, f"a job does not end: {said}"
        time.sleep(0.02)
    result = said["result"] or {}
    assert result.get("error", {}).get("code") != "fault", said


def _below(body: Any, folder: str, *, path: bool = False) -> Any:
    """A body whose absolute paths lie below a folder."""
    if isinstance(body, dict):
        return {key: _below(value, folder, path=key in _PATHS) for key, value in body.items()}
    if isinstance(body, list):
        return [_below(one, folder, path=path) for one in body]
    return f"{folder}{body}" if path and isinstance(body, str) and body.startswith("/") else body
