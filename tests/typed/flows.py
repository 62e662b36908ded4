"""The types of pointfree pipelines that begin with an answer: for mypy with the plugin of returns."""

from typing import assert_type

from returns.pipeline import flow
from returns.pointfree import alt, bind, lash, map_
from returns.result import Result

from tests.typed.answers import Error, NotFound, Users, either
from tests.typed.pipelines import name_of, not_empty, say, stand_in


def flows(cache: Users) -> None:
    """``flow`` with the pointfree ``map_``, ``bind``, ``alt`` and ``lash``."""
    answer = cache.load_or_store(1, either)
    assert_type(flow(answer, map_(name_of)), Result[str, Error])
    assert_type(flow(answer, map_(name_of), bind(not_empty)), Result[str, Error])
    assert_type(flow(answer, map_(name_of), bind(not_empty), alt(say)), Result[str, str])
    assert_type(flow(answer, map_(name_of), lash(stand_in)), Result[str, NotFound])
