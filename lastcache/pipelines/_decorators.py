"""What decorates: a function of one argument, which is the key, or one of any arguments, with a key function."""

from collections.abc import Callable, Hashable
from typing import Generic, ParamSpec, Protocol, TypeVar, overload

from lastcache.pipelines._functions import CachedFunction, Form
from lastcache.pipelines._keys import key_of_argument

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
Loaded = TypeVar("Loaded")
Source = TypeVar("Source")
Given = TypeVar("Given")
P = ParamSpec("P")
K_contra = TypeVar("K_contra", contravariant=True)
L_co = TypeVar("L_co", covariant=True)


class TakesKey(Protocol[P, K_contra, L_co]):  # pyright: ignore[reportInvalidTypeVarUse]  # the key is taken in
    """A function that can be called with a key alone, and keeps its parameters: a value must fit both signatures.

    The second says ``object`` because pyright loses the parameters of an argument that is itself the result of a
    decorator where both say the same.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> L_co: ...
    @overload
    def __call__(self, key: K_contra, /) -> object: ...


class ByArgument(Generic[K, V, E, C, Loaded, Source, Given]):
    """Decorates a function of one argument, which is the key."""

    def __init__(
        self,
        form: Form[K, V, E, C, Loaded, Source, Given],
        make: Callable[..., CachedFunction[..., K, V, E, C, Source, Given]] = CachedFunction,
    ) -> None:
        self._form = form
        self._make = make

    # A function with named parameters keeps them; the second is for what has none, such as a `Callable[[K], ...]`.
    @overload
    def __call__(  # type: ignore[overload-overlap]  # the first that fits is meant
        self, load: TakesKey[P, K, Loaded], /
    ) -> CachedFunction[P, K, V, E, C, Source, Given]: ...
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]  # mypy uses it
        self, load: Callable[[K], Loaded], /
    ) -> CachedFunction[[K], K, V, E, C, Source, Given]: ...
    def __call__(self, load: Callable[..., Loaded], /) -> object:
        return self._make(self._form, key_of_argument(load), load)


class ByKey(Generic[P, K, V, E, C, Loaded, Source, Given]):
    """Decorates a function of the parameters that ``key`` has."""

    def __init__(
        self,
        form: Form[K, V, E, C, Loaded, Source, Given],
        key: Callable[P, K],
        make: Callable[
            [Form[K, V, E, C, Loaded, Source, Given], Callable[P, K], Callable[P, Loaded]],
            CachedFunction[P, K, V, E, C, Source, Given],
        ] = CachedFunction,
    ) -> None:
        self._form = form
        self._key = key
        self._make = make

    def __call__(self, load: Callable[P, Loaded], /) -> CachedFunction[P, K, V, E, C, Source, Given]:
        return self._make(self._form, self._key, load)
