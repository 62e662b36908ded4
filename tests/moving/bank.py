"""The source of every program: a bank that is down now and then. A real one takes its time, too."""

import asyncio


class Bank:
    """Tells what a euro costs in another currency."""

    def __init__(self) -> None:
        self.online = True
        self.rates = {"USD": 1.08}

    def ask(self, currency: str) -> float:
        if not self.online:
            raise ConnectionError("no route to the bank")
        return self.rates[currency]

    async def ask_in_task(self, currency: str) -> float:
        await asyncio.sleep(0)
        return self.ask(currency)

    def go_down(self) -> None:
        self.online = False

    def come_back(self, rate: float) -> None:
        self.online = True
        self.rates["USD"] = rate


async def later(seconds: float = 0.0) -> None:
    """Let time pass, and what runs behind the answers end."""
    await asyncio.sleep(seconds)
    for _ in range(50):
        await asyncio.sleep(0)
