"""A rate is good for a minute, with cachetools."""

from datetime import timedelta

from cachetools import TTLCache, cached

from lastcache.testing import ManualClock
from tests.moving.bank import Bank

bank, clock = Bank(), ManualClock()


@cached(TTLCache(maxsize=100, ttl=60, timer=lambda: clock() / 1e9))
def rate(currency: str) -> float:
    return bank.ask(currency)


def show(currency: str) -> str:
    try:
        return f"{rate(currency)}"
    except ConnectionError as err:
        return f"sorry: {err}"


def main() -> list[str]:
    seen = [show("USD"), show("USD")]
    bank.go_down()
    clock.advance(timedelta(minutes=2))
    seen.append(show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, show("USD")]
