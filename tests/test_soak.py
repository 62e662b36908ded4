"""The soak itself, for a moment, so that it cannot rot."""

import pytest

from tests import soak
from tests.soak import BrokenLawError, Ledger


def test_a_short_soak(capsys: pytest.CaptureFixture[str]) -> None:
    """A second of it is clean."""
    assert soak.main(["--minutes", "0.02", "--seed", "42"]) == 0
    assert "rounds clean" in capsys.readouterr().out


def test_the_soak_can_fail() -> None:
    """Two loads of one key at once, with no write between, break a law; with one between they do not."""
    ledger = Ledger()
    ledger.load_begins(1, ledger.ended)
    with pytest.raises(BrokenLawError):
        ledger.load_begins(2, ledger.ended)
    ledger.write_begins()
    ledger.load_begins(2, ledger.ended)
