"""The loads of one key: what is under way, and what each event makes of it. Pure, as ``transitions`` is.

A *flight* is a load whose callback runs; it is *attached* while its key's traffic is ``Running(flight)``, and what it
brings is stored only then. A *job* is a load that is left to the background. A key has, at any moment, one of these:

::

                     idle           Queued(j)        Running(f)        Running(f, j)
    wait(me)         Running(me)    Running(me, j)   join f            join f
    leave(new)       Queued(new)    j is there       Running(f, new)   j is there
    refresh(new)     Queued(new)    --               --                --
    start(j, me)     --             Running(me, j)   --                --
    withdraw(j)      --             idle             --                --
    landed(f)        --             --               idle              idle, and j is told how f ended
    abandoned(f, j)  Queued(j)      j rides on it    idle              Queued(j)
    set, expire      idle           -- (not begun)   idle: f outrun    idle: f outrun, and keeps j
    delete, clear    idle           idle: j dropped  idle: f outrun    idle: f outrun, and keeps j for its own end

``wait``: a caller must wait for the key. It leads where the next value is ``Running(me)``, and joins any other flight;
a queued job is taken over, and told how the caller's flight ends.
``leave``: a caller was given a stale value; the job of the next value is the load behind it.
``refresh``: a caller was given a fresh value whose early load is due; nobody waits for that load.
``start``: a worker takes the job. ``withdraw``: the job is not needed any more, or is dropped.
``landed``: the callback has ended, and its outcome is settled.
``abandoned``: the leader was interrupted or cancelled. A flight that was outrun before keeps its job ``j``: that job is
queued again, or it rides on whatever load of the key is there by now, and is told how that one ends. Where the key was
deleted meanwhile the job is dropped: its callback is of before.

There are two rules about this file:

1. What a key has under way is its ``Traffic``, and nothing else: no flag beside it says the same again.
2. The queue of the background is a view: a job is in it exactly while its key's traffic is ``Queued(job)``.
"""

from typing import Generic, TypeAlias, TypeVar, final

from lastcache.core.values import value

F = TypeVar("F")
J = TypeVar("J")
F_co = TypeVar("F_co", covariant=True)
J_co = TypeVar("J_co", covariant=True)


@final
@value
class Queued(Generic[J_co]):
    """A job waits for a worker, or for a caller who must wait for the key and takes it over."""

    job: J_co


@final
@value
class Running(Generic[F_co, J_co]):
    """``flight`` is led; ``job``, if any, will be told how it lands, and goes back to the queue if it is abandoned."""

    flight: F_co
    job: J_co | None = None


Traffic: TypeAlias = Queued[J] | Running[F, J]
"""What one key has under way, if anything."""


def wait(traffic: Traffic[J, F] | None, me: F) -> Running[F, J]:
    """A caller must wait for the key: it leads if the flight is its own, and joins any other."""
    match traffic:
        case None:
            return Running(me)
        case Queued(job):
            return Running(me, job)
        case Running():
            return traffic


def job_of(traffic: Traffic[J, F] | None) -> J | None:
    """Give the job that is queued, or that rides on the flight."""
    return None if traffic is None else traffic.job


def leave(traffic: Traffic[J, F] | None, new: J) -> Traffic[J, F]:
    """A caller was given a stale value, and leaves ``new`` unless there is a job."""
    match traffic:
        case None:
            return Queued(new)
        case Running(flight, None):
            return Running(flight, new)
        case Queued() | Running():
            return traffic


def refresh(traffic: Traffic[J, F] | None, new: J) -> Traffic[J, F]:
    """A caller was given a fresh value whose early load is due, and leaves ``new`` unless a load is under way."""
    return Queued(new) if traffic is None else traffic


def start(traffic: Traffic[J, F] | None, job: J, me: F) -> Traffic[J, F] | None:
    """A worker takes ``job``, and leads ``me`` if the job was still queued."""
    return Running(me, job) if isinstance(traffic, Queued) and traffic.job is job else traffic


def withdraw(traffic: Traffic[J, F] | None, job: J) -> Traffic[J, F] | None:
    """The job is not needed any more, or is dropped, before it was started."""
    return None if isinstance(traffic, Queued) and traffic.job is job else traffic


def is_attached(traffic: Traffic[J, F] | None, flight: F) -> bool:
    """Say whether ``flight`` is what the key has under way: what it brings is stored only then."""
    return isinstance(traffic, Running) and traffic.flight is flight


def landed(traffic: Traffic[J, F] | None, flight: F) -> Traffic[J, F] | None:
    """The callback of ``flight`` has ended; one that was outrun changes nothing."""
    return None if is_attached(traffic, flight) else traffic


def abandoned(traffic: Traffic[J, F] | None, flight: F, kept: J | None) -> Traffic[J, F] | None:
    """The leader of ``flight`` was interrupted; ``kept`` is the job that it kept if it was outrun before."""
    if isinstance(traffic, Running) and traffic.flight is flight:
        return None if traffic.job is None else Queued(traffic.job)
    return traffic if kept is None else leave(traffic, kept)


def outrun(traffic: Traffic[J, F] | None) -> Traffic[J, F] | None:
    """The key was set or expired: a load that has begun changes nothing any more; a queued one has not begun."""
    return traffic if isinstance(traffic, Queued) else None
