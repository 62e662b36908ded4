"""A rate is good for a minute, and better than none for as long as the bank is down."""

from datetime import timedelta

from returns.result import Success, safe

from lastcache import CachedValue, Config, LastCache
from lastcache.pipelines import cached, stale_on
from lastcache.testing import ManualClock
from tests.moving.bank import Bank

bank, clock = Bank(), ManualClock()
rates = LastCache[str, float, ConnectionError](Config(global_ttl=timedelta(minutes=1), max_entries=100), clock=clock)


@cached(rates)
@stale_on(ConnectionError)
@safe((ConnectionError,))
def rate(currency: str) -> float:
    return bank.ask(currency)


def show(currency: str) -> str:
    match rate(currency):
        case Success(CachedValue(value, stale=False)):
            return f"{value}"
        case Success(CachedValue(value, err=err)):
            return f"{value} (stale: {err})"
        case failure:
            return f"sorry: {failure.failure()}"


def main() -> list[str]:
    seen = [show("USD"), show("USD")]
    bank.go_down()
    clock.advance(timedelta(minutes=2))
    seen.append(show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, show("USD")]
