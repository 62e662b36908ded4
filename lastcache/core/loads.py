"""The loads of many keys: the traffic of each, and the queue of the background, which is a view of it.

A plain data structure that applies the table of ``traffic``; it knows no clock, no lock and no thread.
Traffic and queue change in one line each time, and without a call between, after which CPython looks for signals: so an
interrupt finds both or neither changed.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar, final

from lastcache.core import traffic
from lastcache.core.traffic import Queued, Running, Traffic

K = TypeVar("K")
K_co = TypeVar("K_co", covariant=True)


class Led(Protocol):
    """What is asked of a flight."""

    @property
    def over(self) -> bool:
        """Whether it ended. One that is over, and still attached, was abandoned."""
        ...


class Keyed(Protocol[K_co]):
    """What is asked of a job."""

    @property
    def key(self) -> K_co:
        """What it loads."""
        ...

    @property
    def over(self) -> bool:
        """Whether it was told how it ended. One that is over, and still queued, is what an interrupt left."""
        ...


F = TypeVar("F", bound=Led)
J = TypeVar("J", bound=Keyed[object])


@final
class Loads(Generic[K, F, J]):
    """The loads of one cache, or of its part in one event loop.

    ``queue`` has the jobs that wait for a worker, the oldest first.
    ``kept`` has, for each flight that was outrun, the job that will be told how it ends; ``forgotten`` has those of the
    flights whose key was deleted, which are not queued again.
    """

    __slots__ = ("forgotten", "kept", "queue", "traffic")

    def __init__(self) -> None:
        self.traffic: dict[K, Traffic[J, F]] = {}
        self.queue: OrderedDict[J, None] = OrderedDict[J, None]()
        self.kept: dict[F, J] = {}
        self.forgotten: dict[F, J] = {}

    def find(self, key: K) -> Traffic[J, F] | None:
        """Give what ``key`` has under way; what an interrupt left is put out of the way first."""
        found = self.traffic.get(key)
        if found is None:
            return None
        if type(found) is Queued:
            return self._find_queued(key, found)
        if found.flight.over:
            self.abandon(key, found.flight)
            return self.traffic.get(key)
        return found

    def _find_queued(self, key: K, found: Queued[J]) -> Queued[J] | None:
        if not found.job.over:
            return found
        self.withdraw(found.job, key)
        return None

    def wait(self, key: K, me: F) -> F:
        """Give the flight that a caller waits for: it leads if that is ``me``."""
        found = self.traffic.get(key)
        if found is None or (found := self.find(key)) is None:
            self.traffic[key] = Running(me)
            return me
        running = traffic.wait(found, me)
        if type(found) is Queued:
            self.traffic[key] = running; del self.queue[found.job]  # noqa: E702  # fmt: skip
        return running.flight

    def leave(self, key: K, new: Callable[[], J]) -> J:
        """Give the load behind a stale value; it is made unless there is one."""
        found = self.traffic.get(key)
        if found is not None:
            found = self.find(key)
        known = traffic.job_of(found)
        if known is not None:
            return known
        job = new()
        return self._attach(key, traffic.leave(found, job), job)

    def refresh(self, key: K, new: Callable[[], J]) -> J | None:
        """Leave an early load, unless a load is under way; give the one that was left."""
        if self.find(key) is not None:
            return None
        job = new()
        return self._attach(key, traffic.refresh(None, job), job)

    def _attach(self, key: K, following: Traffic[J, F], job: J) -> J:
        """Let ``job`` ride on the flight that is led, or queue it; give the job that speaks for it from now on."""
        if type(following) is Queued and following.job is job:
            self.traffic[key], self.queue[job] = following, None
        else:
            self.traffic[key] = following
        return following.job or job

    def oldest(self) -> J | None:
        """Give the job that has waited longest."""
        return next(iter(self.queue), None)

    def start(self, job: J, key: K, me: F) -> bool:
        """A worker takes ``job``; say whether it leads ``me``."""
        following = traffic.start(self.traffic.get(key), job, me)
        if type(following) is not Running or following.flight is not me:
            self.queue.pop(job, None)
            return False
        self.traffic[key] = following; del self.queue[job]  # noqa: E702  # fmt: skip
        return True

    def withdraw(self, job: J, key: K) -> None:
        """Take ``job`` out of the queue: it is not needed any more, or is dropped."""
        found = self.traffic.get(key)
        if found is None or traffic.withdraw(found, job) is not None:
            self.queue.pop(job, None)
        elif job in self.queue:
            del self.traffic[key], self.queue[job]
        else:
            del self.traffic[key]

    def carried(self, key: K, flight: F) -> J | None:
        """Give the job that will be told how ``flight`` ends."""
        found = self.traffic.get(key)
        if type(found) is Running and found.flight is flight:
            return found.job
        return self.kept.get(flight) or self.forgotten.get(flight)

    def land(self, key: K, flight: F) -> None:
        """End ``flight``, whose callback has ended, and whose job was told."""
        found = self.traffic.get(key)
        if found is not None and traffic.landed(found, flight) is None:
            del self.traffic[key]
        else:
            self.kept.pop(flight, None)
            self.forgotten.pop(flight, None)

    def rival(self, key: K, flight: F) -> J | None:
        """Give the job that the key has by now, where ``flight`` was outrun before and kept another."""
        kept, job = self.kept.get(flight), traffic.job_of(self.traffic.get(key))
        return None if kept is None or kept is job else job

    def abandon(self, key: K, flight: F) -> None:
        """End ``flight``, whose leader was interrupted; its job is left to the next load of the key.

        Where the key has another job by now, this one must have been joined to that one before: see ``rival``.
        """
        found, kept = self.traffic.get(key), self.kept.get(flight)
        if traffic.is_attached(found, flight) or (kept is not None and not kept.over):
            self._follow(key, traffic.abandoned(found, flight, kept))
        self.kept.pop(flight, None)
        self.forgotten.pop(flight, None)

    def _follow(self, key: K, following: Traffic[J, F] | None) -> None:
        if type(following) is Queued and following.job.over:
            following = None
        if following is None:
            self.traffic.pop(key, None)
        elif type(following) is Queued and following.job not in self.queue:
            self.traffic[key], self.queue[following.job] = following, None
        else:
            self.traffic[key] = following

    def outrun(self, key: K) -> Traffic[J, F] | None:
        """The key was set or expired: detach the flight, which keeps its job; give what was detached."""
        found = self.traffic.get(key)
        if found is None or traffic.outrun(found) is found:
            return None
        return self._detach(key, found, self.kept)

    def forget(self, key: K) -> Traffic[J, F] | None:
        """The key was deleted: detach the flight, or take the job out of the queue; give what was there."""
        for flight, job in list(self.kept.items()):
            if _are_same(job.key, key):
                self._forget(flight, job)
        found = self.traffic.get(key)
        return None if found is None else self._detach(key, found, self.forgotten)

    def _forget(self, flight: F, job: J) -> None:
        self.forgotten[flight] = job; del self.kept[flight]  # noqa: E702  # fmt: skip

    def _detach(self, key: K, found: Traffic[J, F], kept: dict[F, J]) -> Traffic[J, F]:
        if isinstance(found, Queued):
            self.withdraw(found.job, key)
        elif found.job is None:
            del self.traffic[key]
        else:
            kept[found.flight] = found.job; del self.traffic[key]  # noqa: E702  # fmt: skip
        return found

    def clear(self) -> None:
        """Detach every flight, and empty the queue, whose jobs were told; no key is looked up, so none can object."""
        for found in self.traffic.copy().values():
            if isinstance(found, Running) and found.job is not None:
                self.forgotten[found.flight] = found.job
        for flight, job in list(self.kept.items()):
            self._forget(flight, job)
        self.traffic.clear()
        self.queue.clear()

    def clear_but(self, is_spared: Callable[[F], bool]) -> None:
        """Do as ``clear`` does, but leave the flights that are spared as they are."""
        for key, found in list(self.traffic.items()):
            if not (isinstance(found, Running) and is_spared(found.flight)):
                with suppress(Exception):  # The key's own error, which is no business of the others.
                    self._detach(key, found, self.forgotten)
        for flight, job in list(self.kept.items()):
            self._forget(flight, job)

    def unfinished(self) -> list[J]:
        """Give every job that somebody may wait for."""
        riding = [found.job for found in self.traffic.values() if found.job is not None]
        return [*riding, *self.kept.values(), *self.forgotten.values()]


def _are_same(one: object, other: object) -> bool:
    """Compare two keys as a dict does; one that objects is another: its error is no business of this write."""
    try:
        return one is other or (hash(one) == hash(other) and one == other)
    except Exception:
        return False
