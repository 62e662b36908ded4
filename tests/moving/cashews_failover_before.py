"""Every call asks the bank, and an outage is covered for an hour, with ``failover`` of cashews."""

import asyncio

from cashews import Cache

from tests.moving.bank import Bank

bank, cache = Bank(), Cache()
cache.setup("mem://", size=100)


@cache.failover(ttl="1h", exceptions=ConnectionError, key="rate:{currency}")
async def rate(currency: str) -> float:
    return await bank.ask_in_task(currency)


async def show(currency: str) -> str:
    try:
        return f"{await rate(currency)}"
    except ConnectionError as err:
        return f"sorry: {err}"


async def visit() -> list[str]:
    seen = [await show("USD"), await show("USD")]
    bank.go_down()
    seen.append(await show("USD"))
    bank.come_back(rate=1.09)
    seen.append(await show("USD"))
    await cache.close()
    return seen


def main() -> list[str]:
    return asyncio.run(visit())
