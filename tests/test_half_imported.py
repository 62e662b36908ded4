"""A program of asyncio does not care what becomes of trio in other threads."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BOUND = 30
"""The seconds after which a process is called hung."""


def run(program: str) -> None:
    """Run ``program``; it must end by itself with status 0, and say nothing on stderr."""
    ended = subprocess.run(  # noqa: S603  # our own text
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert (0, "") == (ended.returncode, ended.stderr)


@pytest.mark.parametrize(
    "used",
    [
        "load_or_store",
        *(pytest.param(used, marks=pytest.mark.slow) for used in ("load_or_store_many", "async_load_or_store")),
    ],
)
def test_asyncio_needs_no_trio(used: str) -> None:
    """While another thread has begun to import trio, and not ended, a cache works in asyncio."""
    run(f"""
        import asyncio, sys, types
        from returns.result import Success
        from lastcache import CachedValue
        from lastcache.tasks import AsyncLastCache

        async def load(key):
            return {{one: Success("v") for one in key}} if isinstance(key, tuple) else Success("v")

        async def main():
            sys.modules["trio"] = types.ModuleType("trio")
            cache = AsyncLastCache()
            if {used!r} == "load_or_store":
                assert await cache.load_or_store("k", load) == Success(CachedValue("v"))
            elif {used!r} == "load_or_store_many":
                assert await cache.load_or_store_many(["k"], load) == {{"k": Success(CachedValue("v"))}}
            else:
                async with cache:
                    cache.set("k", "old")
                    cache.expire("k")
                    stale = (await cache.async_load_or_store("k", load)).unwrap()
                    assert stale.cached == CachedValue("old", stale=True)
                    assert await stale.refresh == Success(CachedValue("v"))

        asyncio.run(main())
    """)
