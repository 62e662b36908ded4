"""Two services, written as their teams would, keep their users served through an outage of their upstream."""

from importlib.util import find_spec

import pytest

from tests.services.crowd import broken_promises
from tests.services.driver import suffered

MISSING = [name for name in ("fastapi", "uvicorn", "flask") if find_spec(name) is None]
SLACK = 1.0  # on a busy machine a service is late, but its readers never wait for the 1.5 seconds of its callback


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_an_outage_is_no_outage_for_the_users() -> None:
    """Fifty clients of two workers see old values in time and no deleted user, and each stale answer is counted."""
    outage = suffered("fastapi", pace=0.25)
    assert not list(broken_promises(outage.seen, slack=SLACK))
    assert not outage.unanswered
    assert outage.stale_told == sum(one.stale for one in outage.seen) > 0
    assert {one.status for one in outage.seen if one.phase == "back" and one.kind == "/price"} == {200}
    assert "Traceback" not in outage.log
