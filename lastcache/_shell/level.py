"""The second level of one cache, as it is spoken to: keys and values as bytes, and calls of the store that never raise.

It decides nothing, and knows no entry. What the user's codec, key function or store raises ends here, as a reason.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar, cast, final

from returns.result import Failure, Result, Success

from lastcache._checks import duration_of, nanoseconds
from lastcache._shell.ledger import Body, Change, Loaned
from lastcache._shell.marks import Mark, marked, unmarked
from lastcache.config import Config
from lastcache.core import shared
from lastcache.core.owed import SetTo
from lastcache.core.owed import Told as Word
from lastcache.core.shared import Found
from lastcache.core.values import SUCCESS
from lastcache.second.keys import record_name
from lastcache.second.options import Second, SecondPolicy, second_policy_of
from lastcache.second.protocol import (
    Absent,
    Ask,
    Busy,
    Cleared,
    Expire,
    Fill,
    Forget,
    Gone,
    Held,
    Kept,
    Lease,
    Listener,
    Outrun,
    Pushing,
    Put,
    Release,
    Same,
    Store,
    StoreFailure,
    Tell,
    Told,
    Trouble,
    Verdict,
    Version,
    Want,
)

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

Grant: TypeAlias = Lease | Busy | None

NOT_ASKED: Final = StoreFailure(Trouble.BROKEN, "it was not called")
"""Why a store did not answer that was not called: from inside a call of a store, or where nobody waits any more."""


class _Here(threading.local):
    """Whether this thread is inside a call of a store: a finalizer or a signal handler may come from there."""

    busy: bool = False


HERE: Final = _Here()


def is_calling() -> bool:
    """Say whether this thread is inside a call of a store: then it must call none, which may hold a lock."""
    return HERE.busy


@final
class Question(NamedTuple):
    """What is to be asked about a key: of what version, for what, and how early a fresh record counts as due."""

    generation: bytes | None
    known: Mark | None
    want: Want
    early_by: int


@final
class Heard(NamedTuple, Generic[V]):
    """What the store said, decoded; ``unread`` says why a value that it has could not be."""

    found: Found[V, Mark]
    grant: Grant
    unread: str | None = None

    @property
    def is_last_word(self) -> bool:
        """Whether there is nothing more to be had from the store for a load: a lease, or no answer that is of use."""
        return self.grant is not None or self.unread is not None or isinstance(self.found, shared.NoAnswer)


@final
class Loan:
    """What a flight has to do with the store.

    ``forced``: it takes over from one that was interrupted, whose lease may not be given back yet. ``lease`` is the one
    that it holds. ``is_over`` once nobody will fill or release it: who is still granted one then gives it back.
    ``generation`` is that under which the store was last asked, and ``is_heard`` whether its word was taken in: from
    then on the load has begun, and what ends every load that has begun ends it, too. ``may_hold``: it holds a lease, or
    may have been granted one that it has not heard of.
    ``writes``: it tells the store something for others. ``verdict`` is what the store said to that, told at ``told_at``
    with ``draw`` for jitter.
    """

    __slots__ = (
        "draw",
        "forced",
        "generation",
        "is_heard",
        "is_over",
        "lease",
        "may_hold",
        "told_at",
        "verdict",
        "writes",
    )

    def __init__(self, *, forced: bool = False) -> None:
        self.forced: bool = forced
        self.lease: Loaned | None = None
        self.generation: bytes | None = None
        self.is_heard: bool = False
        self.is_over: bool = False
        self.may_hold: bool = False
        self.writes: bool = False
        self.verdict: shared.Verdict[Mark] = shared.NoAnswer()
        self.told_at: int | None = None
        self.draw: float = 0.0

    def asks(self, question: Question) -> None:
        """The store is asked, or asked again."""
        self.generation, self.is_heard = question.generation, False
        self.may_hold = self.may_hold or question.want is not Want.LOOK

    def taken_over(self) -> "Loan":
        """Give what takes over from this one, which was given up: it need not wait for a lease of its own process."""
        return Loan(forced=self.may_hold)

    def ends(self) -> None:
        """Its lease was given back, or is used up."""
        self.lease, self.may_hold = None, False

    def take(self) -> Loaned | None:
        """Give the lease, once."""
        lease, self.lease = self.lease, None
        return lease


@final
class Level(Generic[K, V]):
    """The second level of one cache."""

    __slots__ = ("_codec", "_key", "_remembered_for", "_schema", "_store", "namespace", "policy")

    def __init__(self, second: Second[K, V], config: Config) -> None:
        self.policy: SecondPolicy = second_policy_of(second, config)
        self._store: Store = second.store
        self._codec = second.codec
        self._schema = second.codec.schema
        self._key = second.key
        self.namespace: bytes = second.namespace.encode()
        # A deletion must be remembered for as long as a process may hold the value that was deleted as fresh.
        self._remembered_for = duration_of(self.policy.keep_for + nanoseconds(config.global_ttl))

    def form_of(self, key: K) -> bytes:
        """Write ``key`` as bytes. Raises what the user's function raises, and ``TypeError`` where it gives no bytes."""
        form = self._key(key)
        if not _is_bytes(form):
            raise TypeError(f"key={key!r}: Second(key=...) must give bytes; it gave {form!r}")
        return form

    def encode(self, value: V) -> bytes | str:
        """Write ``value``, or say why it cannot be stored."""
        try:
            body = self._codec.encode(value)
        except Exception as err:
            return f"the codec could not write it: {err!r}"
        if not _is_bytes(body):
            return f"the codec wrote no bytes, but {type(body).__name__}"
        if len(body) > self.policy.max_body:
            return f"its body has {len(body)} bytes, and max_body is {self.policy.max_body}"
        return body

    def ask(self, form: bytes, question: Question, loan: Loan) -> Result[Heard[V] | Cleared, StoreFailure]:
        """Ask the store; a lease that it grants is written into ``loan``."""
        return self._call(lambda: self._ask(form, question, loan))

    def ask_many(
        self, questions: Sequence[tuple[bytes, Question, Loan]]
    ) -> Result[list[Heard[V] | Cleared], StoreFailure]:
        """Ask the store about many keys at once."""
        return self._call(lambda: self._ask_many(questions))

    def _ask(self, form: bytes, question: Question, loan: Loan) -> Result[Heard[V] | Cleared, StoreFailure]:
        told = self._store.ask([self._message(form, question)])
        return told.map(lambda answers: self._heard(_only(answers), form, question, loan))

    def _ask_many(
        self, questions: Sequence[tuple[bytes, Question, Loan]]
    ) -> Result[list[Heard[V] | Cleared], StoreFailure]:
        told = self._store.ask([self._message(form, question) for form, question, _ in questions])
        return told.map(lambda answers: [self._heard(each, *of) for each, of in zip(answers, questions, strict=True)])

    def _message(self, form: bytes, question: Question) -> Ask:
        generation = question.generation
        return Ask(
            self.namespace,
            record_name(self.namespace, generation or b"", form),
            generation,
            None if question.known is None else unmarked(question.known),
            question.want,
            duration_of(self.policy.lease_for),
            duration_of(question.early_by),
        )

    def _heard(self, told: Told, form: bytes, question: Question, loan: Loan) -> Heard[V] | Cleared:
        match told:
            case Cleared():
                return told
            case Same(fresh_for):
                return Heard(shared.Same(nanoseconds(fresh_for)), None)
            case Held(grant=grant) | Gone(grant=grant) | Absent(grant):
                if isinstance(grant, Busy) and not isinstance(cast("object", grant.ends_in), timedelta):
                    raise TypeError(f"a store must say how long a lease lasts; it answered {told!r}")
                loan.may_hold = isinstance(grant, Lease)
                if isinstance(grant, Lease) and question.generation is not None:
                    name = record_name(self.namespace, question.generation, form)
                    loan.lease = Loaned(name, question.generation, grant)
                return self._decoded(told, grant)
        raise TypeError(f"a store must answer with what its protocol names; it answered {told!r}")

    def _decoded(self, told: Held | Gone | Absent, grant: Grant) -> Heard[V]:
        match told:
            case Absent():
                return Heard(shared.Absent(), grant)
            case Gone(version):
                return Heard(shared.Gone(marked(version)), grant)
            case Held(body, schema, fresh_for, version):
                try:
                    value = self._codec.decode(body, schema)
                except Exception as err:
                    return Heard(shared.Absent(), grant, unread=f"the codec could not read it: {err!r}")
                return Heard(shared.Held(value, nanoseconds(fresh_for), marked(version)), grant)

    def fill(self, lease: Loaned, body: bytes | None, fresh_for: int) -> Tell:
        """Write what a load gave; without a body, that it found nothing there any more."""
        return Fill(
            self.namespace,
            lease.name,
            lease.generation,
            lease.lease,
            body,
            self._schema,
            duration_of(fresh_for),
            self._remembered_for if body is None else duration_of(self.policy.keep_for),
        )

    def release(self, lease: Loaned) -> Tell:
        """Give a lease back."""
        return Release(self.namespace, lease.name, lease.generation, lease.lease)

    def spoil(self, lease: Loaned) -> Tell:
        """End the record of a value that cannot be shared: what is there is not what this process has.

        Under its lease, as a fill: what was written there meanwhile is newer.
        """
        return Expire(self.namespace, lease.name, lease.generation, self._remembered_for, lease.lease)

    def word_of(self, form: bytes, generation: bytes, change: Change, now: int, *, late: bool) -> Tell:
        """Write a change as the store is told of it. A late set must not undo what others have written since."""
        name = record_name(self.namespace, generation, form)
        match change:
            case Word.DELETE:
                return Forget(self.namespace, name, generation, self._remembered_for)
            case Word.EXPIRE:
                return Expire(self.namespace, name, generation, self._remembered_for)
            case SetTo(Body(body, fresh_until, version)):
                if body is None or (late and version is None):
                    return Expire(self.namespace, name, generation, self._remembered_for)
                keep_for, fresh_for = duration_of(self.policy.keep_for), duration_of(fresh_until - now)
                only_if = unmarked(version) if late and version is not None else None
                return Put(self.namespace, name, generation, body, self._schema, fresh_for, keep_for, only_if)

    def tell(self, tells: Sequence[Tell]) -> Result[Sequence[Verdict], StoreFailure]:
        """Tell the store."""
        return self._call(lambda: self._tell(tells))

    def _tell(self, tells: Sequence[Tell]) -> Result[Sequence[Verdict], StoreFailure]:
        told = self._store.tell(tells)
        if type(told) is SUCCESS:
            verdicts = tuple(told.unwrap())
            if len(verdicts) != len(tells) or not all(map(_is_verdict, verdicts)):
                raise TypeError(f"a store must answer each tell with Kept or Outrun; it answered {verdicts!r}")
            return Success(verdicts)
        return told

    def greet(self) -> Result[bytes, StoreFailure]:
        """Ask for the generation of the namespace, as whoever knows none yet."""
        question = Question(None, None, Want.LOOK, 0)
        return self._call(lambda: self._greet(question))

    def _greet(self, question: Question) -> Result[bytes, StoreFailure]:
        return self._ask(b"", question, Loan()).map(_generation)

    def clear(self, generation: bytes) -> Result[None, StoreFailure]:
        """Tell the store that all is cleared."""
        return self._call(lambda: self._store.clear(self.namespace, generation))

    def probe(self) -> Result[None, StoreFailure]:
        """Ask whether the store answers."""
        return self._call(lambda: self._store.probe(self.namespace))

    def _call(self, call: Callable[[], Result[T, StoreFailure]]) -> Result[T, StoreFailure]:
        """Call the store: what it raises, and what makes no sense, is a failure."""
        if HERE.busy:
            return Failure(NOT_ASKED)
        HERE.busy = True
        try:
            return cast("Result[T, StoreFailure]", _checked(call()))
        except Exception as err:
            return Failure(StoreFailure(Trouble.BROKEN, repr(err)))
        except BaseException as err:
            # In a thread of our own nobody is meant to be interrupted, and a task waits for its answer.
            if not threading.current_thread().name.startswith("lastcache-"):
                raise
            return Failure(StoreFailure(Trouble.BROKEN, repr(err)))
        finally:
            HERE.busy = False

    def listen(self, listener: Listener) -> bool:
        """Have the store tell ``listener`` what other processes write; say whether it does."""
        if not hasattr(self._store, "listen"):
            return False
        try:
            return cast("Pushing", self._store).listen(self.namespace, listener)
        except Exception:
            return False

    def reset_after_fork(self) -> None:
        """Forget every connection, as the child of a fork must."""
        HERE.busy = False
        self._store.reset_after_fork()


def _generation(heard: object) -> bytes:
    if not isinstance(heard, Cleared):
        raise TypeError(f"a store must answer who knows no generation with Cleared; it answered {heard!r}")
    return heard.generation


def _is_bytes(given: object) -> bool:
    return isinstance(given, bytes)


def _is_verdict(given: object) -> bool:
    return isinstance(given, Outrun) or (isinstance(given, Kept) and isinstance(cast("object", given.version), Version))


def _only(told: Sequence[Told]) -> Told:
    (answer,) = told
    return answer


def _checked(result: object) -> object:
    if isinstance(result, Success) or (isinstance(result, Failure) and _is_failure(cast("Failure[object]", result))):
        return cast("object", result)
    raise TypeError(f"a store must return a Result, whose failure is a StoreFailure; it returned {result!r}")


def _is_failure(result: Failure[object]) -> bool:
    failure = result.failure()
    return isinstance(failure, StoreFailure) and isinstance(cast("object", failure.trouble), Trouble)
