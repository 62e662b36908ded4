"""A rate is good for a moment, with dogpile.cache in memory."""

import time

from dogpile.cache import make_region

from tests.moving.bank import Bank

bank = Bank()
region = make_region().configure("dogpile.cache.memory", expiration_time=0.03)


@region.cache_on_arguments()
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
    time.sleep(0.06)
    seen.append(show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, show("USD")]
