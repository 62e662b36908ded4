# pyright: strict
"""Prices and users in threads: Flask, with decorated functions, logs and counts."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

import httpx
from flask import Flask, Response, jsonify, make_response
from returns.result import Failure, Result

from lastcache import CachedValue, LastCache
from lastcache.observers import log_to
from lastcache.pipelines import cached, stale_on
from tests.services import domain
from tests.services.domain import Down, Error, NotFound

V = TypeVar("V")

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(threadName)s %(name)s %(levelname)s %(message)s")
for chatty in ("httpx", "werkzeug"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

client = httpx.Client(base_url=domain.UPSTREAM, timeout=domain.PATIENCE)
prices = LastCache[str, float, Error](domain.POLICY, observer=log_to(logging.getLogger("prices")), name="prices")
users = LastCache[str, str, Error](domain.POLICY, observer=log_to(logging.getLogger("users")), name="users")
app = Flask(__name__)


def fetch(path: str) -> Result[str, Error]:
    try:
        return domain.understood(client.get(path))
    except httpx.RequestError as error:
        return Failure(Down(type(error).__name__))


@stale_on(Down, forget_on=(NotFound,), remember_for=domain.MISSING_FOR)
def load_price(currency: str) -> Result[float, Error]:
    return fetch(f"/price/{currency}").map(float)


price = cached(prices)(load_price)
audited_price = cached(prices.demanding(max_stale=domain.AUDITED))(load_price)


@cached(users)
@stale_on(Down, forget_on=(NotFound,), remember_for=domain.MISSING_FOR)
def user_name(user: str) -> Result[str, Error]:
    return fetch(f"/user/{user}")


def respond(
    cache: LastCache[str, V, Error], ask: Callable[[str], Result[CachedValue[V, Error], Error]], key: str
) -> Response:
    began = time.perf_counter()
    answer = ask(key)
    reply = domain.reply(answer, cache.fresh_for, time.perf_counter() - began)
    return make_response(jsonify(reply.body), reply.status, reply.headers)


@app.get("/price/<currency>")
def show_price(currency: str) -> Response:
    return respond(prices, price, currency)


@app.get("/audit/price/<currency>")
def audit_price(currency: str) -> Response:
    return respond(prices, audited_price, currency)


@app.get("/user/<user>")
def show_user(user: str) -> Response:
    return respond(users, user_name, user)


@app.get("/explain/<currency>")
def explain_price(currency: str) -> Response:
    return Response(str(price.explain(currency)), mimetype="text/plain")


@app.post("/expire/<currency>")
def expire_price(currency: str) -> Response:
    price.expire(currency)
    return Response(status=204)


@app.get("/metrics")
def show_stats() -> Response:
    counts = {"prices": asdict(prices.stats()), "users": asdict(users.stats())}
    return make_response(jsonify(counts), 200, {"x-worker": str(os.getpid())})
