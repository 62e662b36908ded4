"""A rate is good for a moment, with async_lru."""

import asyncio

from async_lru import alru_cache

from tests.moving.bank import Bank, later

bank = Bank()


@alru_cache(maxsize=100, ttl=0.03)
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
    await later(0.06)
    seen.append(await show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, await show("USD")]


def main() -> list[str]:
    return asyncio.run(visit())
