"""The frozen records that callbacks give to the cache, and that the cache gives to its callers."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, Never, TypeVar, final

from returns.result import Failure, Result

if TYPE_CHECKING:
    # Type checkers know defaults already, typing only since 3.13: a value that cannot have failed has the error Never.
    from typing_extensions import TypeVar as TypeVarWithDefault

    E_co = TypeVarWithDefault("E_co", covariant=True, default=Never)
else:
    E_co = TypeVar("E_co", covariant=True)

K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)
E = TypeVar("E")
T = TypeVar("T")


def sealed(record: type[T]) -> type[T]:
    """Refuse every assignment to an instance of ``record``.

    On Python 3.11 a frozen dataclass with slots raises a wrong ``TypeError`` for a name that is no field; ``typing``
    assigns such a name in ``CachedValue[int, str](1)``.
    """

    def refuse(_self: object, name: str, *_value: object) -> Never:
        raise FrozenInstanceError(f"cannot change {name!r}: a {record.__name__} is immutable")

    record.__setattr__ = refuse  # type: ignore[method-assign]  # the very purpose
    record.__delattr__ = refuse  # type: ignore[method-assign]  # the very purpose
    return record


@final
@sealed
@dataclass(frozen=True, slots=True, init=False)
class CachedValue(Generic[V_co, E_co]):
    """A value as the cache gives it: with the word whether it is past its freshness, and what failed.

    ``stale=False`` implies ``err is None``.
    ``stale=True`` with ``err=None`` is a value that expired and whose next load has not failed yet.

    >>> CachedValue("value", stale=True, err="connection lost")
    CachedValue(value='value', stale=True, err='connection lost')
    """

    value: V_co
    stale: bool = False
    err: E_co | None = None

    # The setters of the slots do what a frozen dataclass does, in half of its time.
    def __init__(self, value: V_co, stale: bool = False, err: E_co | None = None) -> None:  # noqa: FBT001, FBT002
        _SET_VALUE(self, value)
        _SET_STALE(self, stale)
        _SET_ERR(self, err)

    def map(self, function: Callable[[V_co], T], /) -> "CachedValue[T, E_co]":
        """Change the value, and keep whether it is stale, and why.

        Laws: mapping the identity changes nothing, and mapping two functions in turn is mapping their composition.

        >>> CachedValue(20, stale=True, err="connection lost").map(str)
        CachedValue(value='20', stale=True, err='connection lost')
        """
        return CachedValue(function(self.value), self.stale, self.err)

    def zip(self, other: "CachedValue[T, E]", /) -> "CachedValue[tuple[V_co, T], E_co | E]":
        """Pair two values: stale if one of them is, with the first error that there is.

        Laws: a fresh value adds nothing but itself, and it does not matter which two of three are paired first.

        >>> CachedValue("EUR").zip(CachedValue(1.08, stale=True, err="connection lost"))
        CachedValue(value=('EUR', 1.08), stale=True, err='connection lost')
        """
        err = other.err if self.err is None else self.err
        return CachedValue((self.value, other.value), self.stale or other.stale, err)


_SET_VALUE = CachedValue.__dict__["value"].__set__
_SET_STALE = CachedValue.__dict__["stale"].__set__
_SET_ERR = CachedValue.__dict__["err"].__set__


@final
@sealed
@dataclass(frozen=True, slots=True)
class LoadFailure(Generic[E_co]):
    """The payload of a failed outcome: the error, and whether an expired value may be given in its place.

    ``use_stale`` has no default: only who writes the callback knows which failures stale data may cover.
    This is the choice that RFC 5861, section 4, leaves to the origin.

    >>> LoadFailure("resource not found", use_stale=False)
    LoadFailure(err='resource not found', use_stale=False)
    """

    err: E_co
    use_stale: bool


@final
@sealed
@dataclass(frozen=True, slots=True)
class StoredEntry(Generic[K_co, V_co, E_co]):
    """One stored key as ``entries`` shows it; ``ttl`` is negative exactly when the value is expired.

    >>> StoredEntry("key", CachedValue("value"), timedelta(seconds=3)).ttl
    datetime.timedelta(seconds=3)
    """

    key: K_co
    cached: CachedValue[V_co, E_co]
    ttl: timedelta


def failed(err: E, *, use_stale: bool = True) -> Result[Never, LoadFailure[E]]:
    """Make the failed outcome of a load, for a callback to return.

    An expired value covers the failure unless the callback says ``use_stale=False``.

    >>> failed("connection lost")
    <Failure: LoadFailure(err='connection lost', use_stale=True)>
    >>> failed("resource not found", use_stale=False)
    <Failure: LoadFailure(err='resource not found', use_stale=False)>
    """
    return Failure(LoadFailure(err, use_stale))
