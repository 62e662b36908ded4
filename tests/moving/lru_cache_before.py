"""Rates are kept until somebody throws them away, with functools."""

from functools import lru_cache

from tests.moving.bank import Bank

bank = Bank()


@lru_cache(maxsize=100)
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
    rate.cache_clear()  # what a job does every morning, as there is no TTL
    seen.append(show("USD"))
    bank.come_back(rate=1.09)
    return [*seen, show("USD")]
