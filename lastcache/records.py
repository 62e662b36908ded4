"""The frozen records that callbacks give to the cache, and that the cache gives to its callers."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, Never, Self, TypeVar, final

from returns.result import Failure, Result

from lastcache._checks import NOTHING, shown
from lastcache._hypothesis import introduce

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
    ``fresh_until`` is the end of its freshness, in nanoseconds of the cache's clock: ``cache.fresh_for`` tells how far
    away that is. It is 0 in a record that was made by hand, and no part of equality, of the text, or of a pickle.

    >>> CachedValue("value", stale=True, err="connection lost")
    CachedValue(value='value', stale=True, err='connection lost')
    """

    value: V_co
    stale: bool = False
    err: E_co | None = None
    fresh_until: int = field(default=0, compare=False, repr=False)

    # The setters of the slots do what a frozen dataclass does, in half of its time.
    def __init__(
        self,
        value: V_co,
        stale: bool = False,  # noqa: FBT001, FBT002
        err: E_co | None = None,
        fresh_until: int = 0,
    ) -> None:
        _SET_VALUE(self, value)
        _SET_STALE(self, stale)
        _SET_ERR(self, err)
        _SET_FRESH_UNTIL(self, fresh_until)

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.value, self.stale, self.err)

    def map(self, function: Callable[[V_co], T], /) -> "CachedValue[T, E_co]":
        """Change the value, and keep whether it is stale, and why.

        Laws: mapping the identity changes nothing, and mapping two functions in turn is mapping their composition.

        >>> CachedValue(20, stale=True, err="connection lost").map(str)
        CachedValue(value='20', stale=True, err='connection lost')
        """
        return CachedValue(function(self.value), self.stale, self.err, self.fresh_until)

    def zip(self, other: "CachedValue[T, E]", /) -> "CachedValue[tuple[V_co, T], E_co | E]":
        """Pair two values: stale if one of them is, with the first error that there is, fresh until the earlier end.

        Laws: a fresh value adds nothing but itself, and it does not matter which two of three are paired first.

        >>> CachedValue("EUR").zip(CachedValue(1.08, stale=True, err="connection lost"))
        CachedValue(value=('EUR', 1.08), stale=True, err='connection lost')
        """
        err = other.err if self.err is None else self.err
        fresh_until = min(self.fresh_until, other.fresh_until)
        return CachedValue((self.value, other.value), self.stale or other.stale, err, fresh_until)


_SET_VALUE = CachedValue.__dict__["value"].__set__
_SET_STALE = CachedValue.__dict__["stale"].__set__
_SET_ERR = CachedValue.__dict__["err"].__set__
_SET_FRESH_UNTIL = CachedValue.__dict__["fresh_until"].__set__


@final
@sealed
@dataclass(frozen=True, slots=True)
class LoadFailure(Generic[E_co]):
    """The payload of a failed outcome: the error, and what the cache may do about it.

    ``use_stale``: whether an expired value may be given in place of the error. It has no default: only who writes the
    callback knows which failures stale data may cover. This is the choice that RFC 5861, section 4, leaves to the
    origin.
    ``forget``: the value is gone with this failure, as after a 404 or a 410. What is stored is dropped, so that no
    later failure brings it back.
    ``remember_for``: how long an answer that is this failure stands, so that the source is not asked. Zero: not at all;
    None: for ``negative_ttl``. It has no effect where stale data covers the failure.

    Raises ``ValueError`` for ``err=None``, which means "no error" in a ``CachedValue``, for ``forget`` together with
    ``use_stale``, and for a negative ``remember_for``; ``TypeError`` for a ``remember_for`` that is no duration.

    >>> LoadFailure("the service is down", use_stale=True)
    LoadFailure(err='the service is down', use_stale=True)
    >>> LoadFailure("no such user", use_stale=False, forget=True, remember_for=timedelta(minutes=1))
    LoadFailure(err='no such user', use_stale=False, forget=True, remember_for=datetime.timedelta(seconds=60))
    """

    err: E_co
    use_stale: bool
    forget: bool = field(default=False, kw_only=True)
    remember_for: timedelta | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.err is None:
            raise ValueError("err=None: must be an error: None says that there is none")
        if self.forget and self.use_stale:
            raise ValueError("forget=True, use_stale=True: a failure that forgets the value cannot be covered by it")
        if self.remember_for is not None:
            _check_remember_for(self.remember_for)

    def __repr__(self) -> str:
        forget = ", forget=True" if self.forget else ""
        remember_for = "" if self.remember_for is None else f", remember_for={self.remember_for!r}"
        return f"LoadFailure(err={self.err!r}, use_stale={self.use_stale!r}{forget}{remember_for})"


def _check_remember_for(duration: object) -> None:
    if not isinstance(duration, timedelta):
        raise TypeError(f"remember_for={duration!r}: must be a timedelta, or None for the cache's negative_ttl")
    if duration < NOTHING:
        raise ValueError(f"remember_for={shown(duration)}: must be a timedelta of zero or more, or None")


@final
@sealed
@dataclass(frozen=True, slots=True)
class StoredEntry(Generic[K_co, V_co, E_co]):
    """One stored key as ``entries`` shows it; ``ttl`` is negative exactly when the value is expired.

    >>> StoredEntry("key", CachedValue("value"), timedelta(seconds=3)).ttl
    datetime.timedelta(seconds=3)
    >>> StoredEntry("key", CachedValue("value", stale=True), timedelta(seconds=-3))
    StoredEntry(key='key', cached=CachedValue(value='value', stale=True, err=None), ttl=-datetime.timedelta(seconds=3))
    """

    key: K_co
    cached: CachedValue[V_co, E_co]
    ttl: timedelta

    def __repr__(self) -> str:
        return f"StoredEntry(key={self.key!r}, cached={self.cached!r}, ttl={shown(self.ttl)})"


def failed(
    err: E, *, use_stale: bool, forget: bool = False, remember_for: timedelta | None = None
) -> Result[Never, LoadFailure[E]]:
    """Make the failed outcome of a load, for a callback to return; ``LoadFailure`` says what the arguments mean.

    >>> failed("connection lost", use_stale=True)
    <Failure: LoadFailure(err='connection lost', use_stale=True)>
    >>> failed("no such user", use_stale=False, forget=True)
    <Failure: LoadFailure(err='no such user', use_stale=False, forget=True)>
    """
    return Failure(LoadFailure(err, use_stale, forget=forget, remember_for=remember_for))


introduce()
