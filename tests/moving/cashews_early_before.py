"""A rate is loaded anew after a moment, behind the answer, and good for an hour, with ``early`` of cashews."""

import asyncio

from cashews import Cache

from tests.moving.bank import Bank, later

bank, cache = Bank(), Cache()
cache.setup("mem://", size=100)


@cache.early(ttl="1h", early_ttl=0.03, key="rate:{currency}")
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
    await later()
    bank.come_back(rate=1.09)
    seen.append(await show("USD"))
    await later()
    seen.append(await show("USD"))
    await cache.close()
    return seen


def main() -> list[str]:
    return asyncio.run(visit())
