"""The API against its own description: requests that are made from it, and what they get."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.served import service

pytest.importorskip("schemathesis", reason="schemathesis is not installed")


@pytest.mark.slow
def test_the_api_is_as_it_describes_itself(ready: Path, tmp_path: Path) -> None:
    """No fault of the service, no answer that takes a minute, none that is not described."""
    from tests.schema_cases import findings

    (tmp_path / "in").mkdir()
    with service(tmp_path / "index") as (address, _, _):
        found = findings(address, folder=str(tmp_path / "in"), examples=3)
    assert not found.faults
    assert len(found.statuses) > 50
    assert found.requests > 250
