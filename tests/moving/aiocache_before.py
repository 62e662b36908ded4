"""A rate is good for a moment, with aiocache in memory."""

import asyncio

from aiocache import cached

from tests.moving.bank import Bank, later

bank = Bank()


@cached(ttl=0.03)  # type: ignore[untyped-decorator]  # aiocache has no types
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
