"""A rate is loaded anew after a minute, behind the answer, and good for an hour."""

import asyncio
from datetime import timedelta

from returns.future import future_safe
from returns.result import Success

from lastcache import CachedValue, Config
from lastcache.pipelines import future_stale_on
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock
from tests.moving.bank import Bank, later

bank, clock = Bank(), ManualClock()
minute, rest = timedelta(minutes=1), timedelta(minutes=59)
config = Config(global_ttl=minute, stale_while_revalidate=rest, stale_if_error=rest, max_entries=100)
rates = AsyncLastCache[str, float, ConnectionError](config, clock=clock)


@future_stale_on(ConnectionError)
@future_safe((ConnectionError,))
async def load(currency: str) -> float:
    return await bank.ask_in_task(currency)


async def show(currency: str) -> str:
    answer = await rates.async_load_or_store(currency, load)
    match answer.map(lambda given: given.cached):
        case Success(CachedValue(value, stale=False)):
            return f"{value}"
        case Success(CachedValue(value)):
            return f"{value} (stale)"
        case failure:
            return f"sorry: {failure.failure()}"


async def visit() -> list[str]:
    async with rates:
        seen = [await show("USD"), await show("USD")]
        bank.go_down()
        clock.advance(timedelta(minutes=2))
        seen.append(await show("USD"))
        await later()
        bank.come_back(rate=1.09)
        seen.append(await show("USD"))
        await later()
        return [*seen, await show("USD")]


def main() -> list[str]:
    return asyncio.run(visit())
