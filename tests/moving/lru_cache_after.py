"""Rates are good for a day, and better than none for as long as the bank is down; callers still expect exceptions."""

from datetime import timedelta

from returns.functions import raise_exception
from returns.result import safe

from lastcache import Config, LastCache
from lastcache.pipelines import cached, stale_on
from lastcache.testing import ManualClock
from tests.moving.bank import Bank

bank, clock = Bank(), ManualClock()
rates = LastCache[str, float, ConnectionError](Config(global_ttl=timedelta(days=1), max_entries=100), clock=clock)


@cached(rates)
@stale_on(ConnectionError)
@safe((ConnectionError,))
def rate(currency: str) -> float:
    return bank.ask(currency)


def show(currency: str) -> str:
    try:
        cached = rate(currency).alt(raise_exception).unwrap()
    except ConnectionError as err:
        return f"sorry: {err}"
    return f"{cached.value} (stale)" if cached.stale else f"{cached.value}"


def main() -> list[str]:
    seen = [show("USD"), show("USD")]
    bank.go_down()
    clock.advance(timedelta(days=2))  # or `rates.expire("USD")`, which keeps the value for the outage
    seen.append(show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, show("USD")]
