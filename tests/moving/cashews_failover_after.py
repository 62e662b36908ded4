"""Every call asks the bank, unless somebody is just asking, and an outage is covered for an hour."""

import asyncio
from datetime import timedelta

from returns.future import future_safe
from returns.result import Success

from lastcache import CachedValue, Config
from lastcache.pipelines import future_stale_on
from lastcache.tasks import AsyncLastCache
from tests.moving.bank import Bank

bank = Bank()
config = Config(stale_if_error=timedelta(hours=1), max_entries=100)
rates = AsyncLastCache[str, float, ConnectionError](config, ttl_for=lambda _: timedelta(0))


@future_stale_on(ConnectionError)
@future_safe((ConnectionError,))
async def load(currency: str) -> float:
    return await bank.ask_in_task(currency)


async def show(currency: str) -> str:
    match await rates.load_or_store(currency, load):
        case Success(CachedValue(value, stale=False)):
            return f"{value}"
        case Success(CachedValue(value, err=err)):
            return f"{value} (stale: {err})"
        case failure:
            return f"sorry: {failure.failure()}"


async def visit() -> list[str]:
    seen = [await show("USD"), await show("USD")]
    bank.go_down()
    seen.append(await show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, await show("USD")]


def main() -> list[str]:
    return asyncio.run(visit())
