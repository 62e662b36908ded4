"""A worker that could not be had once: the next soft read does not pay for it."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from returns.result import Success

from lastcache import Config, LastCache, LoadDroppedError
from tests.kit import error_of, gated, given, in_thread, never, result_of
from tests.test_processes import run


def test_a_soft_read_after_a_refusal_waits_no_longer_than_its_timeout() -> None:
    """One refused worker does not make the next soft read of another key wait for its callback."""
    refusals = [RuntimeError("the pool is full")]

    def execute(work: Callable[[], object]) -> None:
        if refusals:
            raise refusals.pop()
        threading.Thread(target=work, daemon=True).start()

    cache = LastCache[str, str, str](Config(soft_timeout=timedelta(milliseconds=5)), executor=execute)
    for key in ("refused", "next"):
        cache.set(key, "old")
        cache.expire(key)
    refused, hanging = cache.async_load_or_store("refused", never).unwrap(), gated(Success("new"))
    caller = in_thread(lambda: cache.load_or_store("next", hanging))
    try:
        assert given("old", stale=True) == result_of(caller)
    finally:
        hanging.let_go()
    assert LoadDroppedError is type(error_of(refused.refresh))


@pytest.mark.parametrize("moment", ["atexit.register(read)", "kept = Finalized(); kept.me = kept"])
def test_a_soft_read_while_the_interpreter_exits_gives_the_stale_value(moment: str) -> None:
    """A soft read in a function of ``atexit``, or in a finalizer, gives the stale value though its callback hangs."""
    run(
        f"""
        import atexit

        cache = LastCache(Config(soft_timeout=timedelta(milliseconds=5)))
        for key in range(3):
            cache.set(key, "old", ttl=timedelta(0))
        time.sleep(0.001)

        def hang(key):
            time.sleep(100)

        def read():
            for key in range(3):
                cache.async_load_or_store(key, hang)
                value = cache.load_or_store(key, hang).unwrap()
                print(value.value, value.stale, file=sys.stderr if not value.stale else sys.stdout)

        class Finalized:
            def __del__(self):
                read()

        {moment}
        """,
        bound=3,
    )
