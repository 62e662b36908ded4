"""A rate is good for a minute, and better than none for a day; callers still expect exceptions."""

from datetime import timedelta

from returns.functions import raise_exception
from returns.result import safe

from lastcache import Config, LastCache
from lastcache.pipelines import cached, stale_on
from lastcache.testing import ManualClock
from tests.moving.bank import Bank

bank, clock = Bank(), ManualClock()
config = Config(global_ttl=timedelta(minutes=1), stale_if_error=timedelta(days=1))
rates = LastCache[str, float, ConnectionError](config, clock=clock)


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
    clock.advance(timedelta(minutes=2))
    seen.append(show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, show("USD")]
