"""What a decorated function is: the function, answered from a cache, with handles on the entry of each call.

A ``Form`` says how one kind of callback is asked: plain, in ``IO``, awaited, or as a future. All else is the same for
each of them, and stands here once.
"""

import inspect
from collections.abc import Callable, Coroutine, Hashable
from functools import update_wrapper
from types import MethodType
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Self, TypeVar, overload

from returns.maybe import Maybe

from lastcache._shell.facade import CacheView
from lastcache.core.explain import Explanation
from lastcache.core.states import Strategy
from lastcache.records import CachedValue

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
Loaded = TypeVar("Loaded")
Source = TypeVar("Source")
Given = TypeVar("Given")
T = TypeVar("T")
Instance = TypeVar("Instance")
P = ParamSpec("P")
Rest = ParamSpec("Rest")


class Form(NamedTuple, Generic[K, V, E, C, Loaded, Source, Given]):
    """How one kind of callback is asked, and what is given of it.

    ``stored`` is ``cache``, as what both caches share. ``ask`` asks it by ``strategy``, and ``of_source`` makes of what
    the callback returned what ``uncached`` gives.
    """

    cache: C
    stored: CacheView[K, V, E, Any]
    strategy: Strategy
    ask: Callable[[K, Callable[[K], Loaded]], Given]
    of_source: Callable[[Loaded], Source]


class CachedFunction(Generic[P, K, V, E, C, Source, Given]):
    """A function that is answered from ``cache``. It is called as the function is, and so is each of its handles.

    A handle is about the entry that a call with the same arguments has. Of a bound method the handles are bound, too.
    ``__wrapped__`` is the function itself.

    >>> from lastcache import LastCache
    >>> from lastcache.pipelines import cached
    >>> from returns.result import Success
    >>> @cached(LastCache[str, int, str]())
    ... def length(word: str):
    ...     return Success(len(word))
    >>> length(word="answer").unwrap().value, length.key("answer"), length.peek("question")
    (6, 'answer', <Nothing>)
    """

    __name__: str
    __qualname__: str

    def __init__(
        self, form: Form[K, V, E, C, Loaded, Source, Given], key: Callable[P, K], load: Callable[P, Loaded]
    ) -> None:
        update_wrapper(self, load, updated=())
        self.cache: C = form.cache
        self._form: Form[K, V, E, C, Any, Source, Given] = form
        self._ask: Callable[[K, Callable[[K], Any]], Given] = form.ask
        self._key = key
        self.__wrapped__: Callable[P, Any] = load

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Given:
        load = self.__wrapped__
        return self._ask(self._key(*args, **kwargs), lambda _key: load(*args, **kwargs))

    def key(self, *args: P.args, **kwargs: P.kwargs) -> K:
        """Give the key of a call with these arguments."""
        return self._key(*args, **kwargs)

    def expire(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """End the freshness of what is stored for a call with these arguments; it is still there if a load fails."""
        self._form.stored.expire(self._key(*args, **kwargs))

    def delete(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget what is stored for a call with these arguments: nothing is left to fall back on."""
        self._form.stored.delete(self._key(*args, **kwargs))

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Maybe[CachedValue[V, E]]:
        """Show what is stored for a call with these arguments, an expired value marked stale; nothing is loaded."""
        return self._form.stored.peek(self._key(*args, **kwargs))

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation[K, V, E]:
        """Tell what a call with these arguments would do now, and why; nothing is changed or loaded."""
        ahead = self._form.strategy is Strategy.STALE_WHILE_REVALIDATE
        return self._form.stored.explain(self._key(*args, **kwargs), strategy=self._form.strategy if ahead else None)

    def uncached(self, *args: P.args, **kwargs: P.kwargs) -> Source:
        """Call the function itself. The cache is not asked, and nothing is stored."""
        return self._form.of_source(self.__wrapped__(*args, **kwargs))

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self: "CachedFunction[Concatenate[Instance, Rest], K, V, E, C, Source, Given]",
        instance: Instance,
        owner: type | None = None,
    ) -> "CachedFunction[Rest, K, V, E, C, Source, Given]": ...
    def __get__(self, instance: object, owner: type | None = None) -> object:
        get: Any = getattr(type(self.__wrapped__), "__get__", None)
        load: Any = self.__wrapped__ if get is None else get(self.__wrapped__, instance, owner)
        if load is self.__wrapped__:
            return self
        bound = object.__new__(type(self))
        attributes = vars(bound)
        attributes.update(vars(self))
        attributes["__wrapped__"] = load
        if type(load) is MethodType:
            attributes["_key"] = MethodType(self._key, load.__self__)
        return bound

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self.__wrapped__, '__qualname__', repr(self.__wrapped__))}>"


class CachedTaskFunction(CachedFunction[P, K, V, E, C, Source, Coroutine[Any, Any, T]]):
    """A ``CachedFunction`` that is a coroutine function, for frameworks that ask."""

    def __init__(
        self,
        form: Form[K, V, E, C, Loaded, Source, Coroutine[Any, Any, T]],
        key: Callable[P, K],
        load: Callable[P, Loaded],
    ) -> None:
        super().__init__(form, key, load)
        mark_coroutine_function(self)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return await super().__call__(*args, **kwargs)


def mark_coroutine_function(function: object) -> None:
    """Have ``inspect.iscoroutinefunction`` say yes, from Python 3.12 on; before that it knows functions alone."""
    mark: Callable[[object], object] = getattr(inspect, "markcoroutinefunction", id)
    mark(function)
