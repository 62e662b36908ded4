"""A rate is good for a minute, and better than none while the bank is down; callers still expect exceptions."""

import asyncio
from datetime import timedelta

from returns.functions import raise_exception
from returns.future import future_safe

from lastcache import CachedValue, Config
from lastcache.pipelines import future_stale_on
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock
from tests.moving.bank import Bank

bank, clock = Bank(), ManualClock()
rates = AsyncLastCache[str, float, ConnectionError](Config(global_ttl=timedelta(minutes=1)), clock=clock)


@future_stale_on(ConnectionError)
@future_safe((ConnectionError,))
async def load(currency: str) -> float:
    return await bank.ask_in_task(currency)


async def rate(currency: str) -> CachedValue[float, ConnectionError]:
    return (await rates.load_or_store(currency, load)).alt(raise_exception).unwrap()


async def show(currency: str) -> str:
    try:
        cached = await rate(currency)
    except ConnectionError as err:
        return f"sorry: {err}"
    return f"{cached.value} (stale)" if cached.stale else f"{cached.value}"


async def visit() -> list[str]:
    seen = [await show("USD"), await show("USD")]
    bank.go_down()
    clock.advance(timedelta(minutes=2))
    seen.append(await show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, await show("USD")]


def main() -> list[str]:
    return asyncio.run(visit())
