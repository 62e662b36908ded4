# pyright: strict
"""Prices and users in tasks: FastAPI, with metrics for Prometheus."""

import os
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import generate_latest
from returns.result import Result

from lastcache import CachedValue, LoadFailure, failed
from lastcache.prometheus import PrometheusMetrics
from lastcache.tasks import AsyncLastCache
from tests.services import domain
from tests.services.domain import Down, Error, NotFound

V = TypeVar("V")

client = httpx.AsyncClient(base_url=domain.UPSTREAM, timeout=domain.PATIENCE)
metrics = PrometheusMetrics()
prices = AsyncLastCache[str, float, Error](domain.POLICY, observer=metrics.observer(), name="prices")
users = AsyncLastCache[str, str, Error](domain.POLICY, observer=metrics.observer(), name="users")
audited_prices = prices.demanding(max_stale=domain.AUDITED)
metrics.watch(prices)
metrics.watch(users)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """End the loads in the background before the client that they use."""
    async with client, prices, users:
        yield


app = FastAPI(lifespan=lifespan)


def covered(error: Error) -> LoadFailure[Error]:
    """Stale data covers an outage; what is gone is forgotten."""
    if isinstance(error, NotFound):
        return LoadFailure(error, use_stale=False, forget=True, remember_for=domain.MISSING_FOR)
    return LoadFailure(error, use_stale=True)


async def fetch(path: str) -> Result[str, LoadFailure[Error]]:
    try:
        return domain.understood(await client.get(path)).alt(covered)
    except httpx.RequestError as error:
        return failed(Down(type(error).__name__), use_stale=True)


async def load_price(currency: str) -> Result[float, LoadFailure[Error]]:
    return (await fetch(f"/price/{currency}")).map(float)


async def load_user(user: str) -> Result[str, LoadFailure[Error]]:
    return await fetch(f"/user/{user}")


async def respond(
    cache: AsyncLastCache[str, V, Error], asked: Awaitable[Result[CachedValue[V, Error], Error]]
) -> JSONResponse:
    began = time.perf_counter()
    answer = await asked
    reply = domain.reply(answer, cache.fresh_for, time.perf_counter() - began)
    return JSONResponse(reply.body, reply.status, reply.headers)


@app.get("/price/{currency}")
async def show_price(currency: str) -> JSONResponse:
    return await respond(prices, prices.load_or_store(currency, load_price))


@app.get("/audit/price/{currency}")
async def audit_price(currency: str) -> JSONResponse:
    return await respond(prices, audited_prices.load_or_store(currency, load_price))


@app.get("/user/{user}")
async def show_user(user: str) -> JSONResponse:
    return await respond(users, users.load_or_store(user, load_user))


@app.get("/explain/{currency}")
async def explain_price(currency: str) -> PlainTextResponse:
    return PlainTextResponse(str(prices.explain(currency)))


@app.get("/metrics")
async def show_metrics() -> PlainTextResponse:
    return PlainTextResponse(generate_latest(), headers={"x-worker": str(os.getpid())})
