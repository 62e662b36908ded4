"""The place of threads: how they call and wait, and who works in the background."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from queue import Empty
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast
from weakref import ref

from lastcache._checks import checked_executor
from lastcache._shell.background import LINGER, Mailbox, Worker, Workers, is_exiting, start_thread
from lastcache._shell.batches import check_mapping, outcome_of
from lastcache._shell.calls import drive
from lastcache._shell.demanding import DemandingCalls
from lastcache._shell.flight import EMPTY, Flight, Job, Raised
from lastcache._shell.futures import resolve_all
from lastcache._shell.guard import Guard, inside
from lastcache._shell.reentrancy import LoadNode, WaitEdge, current_load
from lastcache.config import Config
from lastcache.core.states import Outcome
from lastcache.events import Observer

if TYPE_CHECKING:
    from lastcache.second.options import Second

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
T = TypeVar("T")

Callback: TypeAlias = Callable[[K], Outcome[V, E]]
BatchCallback: TypeAlias = Callable[[tuple[K, ...]], Mapping[K, Outcome[V, E]]]
REFUSALS: Final = 2
"""How often in a row no worker could be had where a call that waits softly loads for itself."""

LONGEST_WAIT: Final = 86_400.0
"""The seconds after which a soft wait looks again at the latest: a lock refuses to wait for ever."""

ThreadJob: TypeAlias = Job[K, V, E, Callback[K, V, E]]


class ThreadPlace(DemandingCalls[K, V, E, Callback[K, V, E]]):
    """The calls of the cache for threads, and their one place: a thread is the same place everywhere."""

    __slots__ = ("_executor", "_limit", "_refusals", "_workers")

    awaited = None
    leader = None
    waits_for_store: bool = True

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        ttl_for: Callable[[V], timedelta] | None = None,
        observer: Observer[K, E] | None = None,
        executor: Callable[[Callable[[], object]], object] | None = None,
        name: str = "",
        second: "Second[K, V] | None" = None,
    ) -> None:
        super().__init__(config, clock, ttl_for, observer, time.monotonic, name, second)
        self._executor = checked_executor(executor)
        self._limit = config.async_semaphore
        self._workers = Workers(config.async_semaphore)
        self._refusals = 0

    def alone(self, callback: BatchCallback[K, V, E]) -> Callback[K, V, E]:
        """Make a callback of one key of a callback of many."""
        return partial(_alone, callback)

    def is_cancelled(self) -> bool:
        """Threads are not cancelled."""
        return False

    async def join(self, flight: Flight[V, E]) -> None:
        """Wait for the latch: one line, for the reason that ``guard`` gives."""
        with flight.latch: pass  # noqa: E701  # fmt: skip

    async def patiently(self, job: ThreadJob[K, V, E], seconds: float) -> None:
        """Wait on a lock of one's own: an interrupt here leaves nothing held that others need."""
        over = Lock()
        over.acquire()
        wake = partial(_release, over)
        job.waiting.append(wake)
        try:
            if job.landing is None:
                over.acquire(timeout=min(seconds, LONGEST_WAIT))
        finally:
            job.waiting.remove(wake)

    async def call_store(self, call: Callable[[], T]) -> T:
        """Call the store in this very thread."""
        return call()

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)  # noqa: ASYNC251  # in threads a script is no task

    def timer(self) -> float:
        """Give an instant of real time."""
        return time.monotonic()

    def has_block(self) -> bool:
        """Say yes: threads need none."""
        return True

    def has_background(self) -> bool:
        """Whether a worker could be had of late: one that was refused once may be had the next time."""
        return self._refusals < REFUSALS

    def wake(self, flight: Flight[V, E]) -> None:
        """Nobody: the latch does."""

    def tell(self, jobs: Sequence[ThreadJob[K, V, E]], *, here: bool) -> None:
        """Resolve futures; in a caller's thread have another do it, where one can be had.

        Their callbacks are the user's, and an interrupt of the caller must not strike in the middle.
        """
        promised = [job for job in jobs if job.refresh is not None]
        if promised and here:
            resolve_all(promised)
        elif promised:
            start_thread(partial(resolve_all, promised), "lastcache-resolve", lambda _why: resolve_all(promised))

    def start(self, spare: int = 0) -> None:
        """Wake or start a worker if the queue wants one. If no thread can start, what is queued is dropped.

        ``spare`` is how many of the queued loads the caller is about to take itself.
        """
        queued = len(self.state.loads.queue) - spare
        if queued <= 0 or self._workers.is_full() or inside() is not None:
            return
        worker = Worker()
        try:
            self._start(worker, queued)
        except BaseException:
            # An interrupt: its traceback keeps the worker, who would be counted as on the way.
            self.guard.run(self._workers.forget, worker)
            raise

    def _start(self, worker: Worker, queued: int) -> None:
        hired = self.guard.run(self._workers.hire, worker, queued)
        if self.state.outbox:
            self.notify(self)
        if isinstance(hired, Worker):
            self._launch(hired)
        elif hired is not None:
            hired.put(self)

    def _launch(self, worker: Worker) -> None:
        if self._executor is None:
            start_thread(partial(_serve, [self], worker), "lastcache-refresh", partial(self._refuse, worker))
            return
        try:
            self._executor(partial(self._serve_inline, worker, get_ident()))
        except BaseException as err:
            self._refuse(worker, str(err))
            if not isinstance(err, Exception):
                raise

    def _refuse(self, worker: Worker, why: str) -> None:
        self.guard.run(self._strand, worker, why)
        self.notify(self)

    def _strand(self, worker: Worker, why: str) -> None:
        self._workers.forget(worker)
        if self._workers.is_alone():
            self._refusals += not is_exiting()
            self.state.strand(why)

    def begin_work(self, worker: Worker) -> bool:
        """Let ``worker`` be at work; say whether there is room."""
        self._refusals = 0
        return self.guard.run(self._workers.begin, worker)

    def retire(self, mailbox: Mailbox) -> bool:
        """Let an idle worker end; not so if it was sent for meanwhile."""
        return self.guard.run(self._workers.retire, mailbox)

    def _serve_inline(self, worker: Worker, starter: int) -> None:
        """Work for an executor, until nothing is queued.

        It may do so at once, in the thread that started it: then a callback that runs there waits for these loads.
        """
        asker = self.guard.run(current_load) if get_ident() == starter else None
        try:
            if self.begin_work(worker):
                self.work(worker, None, asker)
        finally:
            self.guard.run(self._workers.leave, worker)

    def work_safely(self, worker: Worker, mailbox: Mailbox) -> bool:
        """Do as ``work`` does, and give the worker's place back whatever comes out of it."""
        try:
            return self.work(worker, mailbox)
        except BaseException:
            self.guard.run(self._workers.leave, worker)
            self.start()
            raise

    def work(self, worker: Worker, mailbox: Mailbox | None, asker: LoadNode | None = None) -> bool:
        """Run queued loads until none is left; say whether the worker rests at ``mailbox`` now, or has left."""
        while True:
            # Others are started before this one takes its load: an executor may run them in this very thread.
            with suppress(BaseException):
                self.start(spare=1)
            flight: Flight[V, E] = Flight(LoadNode(None))
            with flight.latch: job = self._lead_next(worker, mailbox, asker, flight)  # noqa: E701  # fmt: skip
            if not isinstance(job, Job):
                self.notify(self, here=True)
                self.start()
                return job
            self._report(job, flight)
            self.end_refresh(self, flight)
            del job, flight

    def _report(self, job: ThreadJob[K, V, E], flight: Flight[V, E]) -> None:
        """Report a load in the context in which its callback ran; one that was told already has let go of it."""
        if job.context is EMPTY:
            self.report_refresh(job.key, job, flight)
        else:
            job.context.run(self.report_refresh, job.key, job, flight)

    def _lead_next(
        self, worker: Worker, mailbox: Mailbox | None, asker: LoadNode | None, flight: Flight[V, E]
    ) -> ThreadJob[K, V, E] | bool:
        try:
            job = self.guard.run_now(self._take, worker, mailbox, flight)
        except Exception as err:  # the clock's own error
            return self.guard.run(self._take_none, worker, Raised(err, err.__traceback__))
        if not isinstance(job, Job):
            return job
        try:
            if asker is None:
                job.context.run(drive, self.refresh, self, job.key, job.callback, flight)
            else:
                with WaitEdge(asker, flight.node):
                    job.context.run(drive, self.refresh, self, job.key, job.callback, flight)
        except BaseException as err:
            self.guard.run(self.state.fail, job.key, flight, Raised(err, err.__traceback__))
        return job

    def _take(
        self, now: int, worker: Worker, mailbox: Mailbox | None, flight: Flight[V, E]
    ) -> ThreadJob[K, V, E] | bool:
        """Begin the next load; where there is none, rest or leave in the same step, so that none is overlooked."""
        job = self.state.start_next(now, flight)
        if job is not None:
            return job
        if mailbox is None or self.state.closed:
            self._workers.leave(worker)
            return False
        self._workers.rest(worker, mailbox)
        return True

    def _take_none(self, worker: Worker, raised: Raised) -> bool:
        """Tell who waits for the next load that it could not begin, and leave."""
        self._workers.leave(worker)
        self.state.end_oldest(raised)
        return False

    def wait_settled(self, seconds: float) -> bool:
        """Wait until the store knows what was changed here, for so many seconds at most; say whether it does."""
        return self.is_settled() or drive(self._wait_settled, seconds, None, None, None)

    async def _wait_settled(self, seconds: float, *_nothing: None) -> bool:
        return await self.wait_until_settled(self, seconds)

    def close(self) -> None:
        """Detach every flight, drop what is queued, and forget the entries; nothing is waited for."""
        self.guard.write(self.state.shut)
        for mailbox in self.read(self._workers.dismiss):
            mailbox.put(None)
        self.settle_up()
        if self.second is not None:
            self.second.lose_debts(self)

    def reset_after_fork(self) -> None:
        """Begin with a free lock, no load and no worker, as the child of a fork must; the entries stay."""
        self.guard: Guard = Guard(self.clock)
        if self.second is not None:
            self.second.reset_after_fork(self)
        self._workers = Workers(self._limit)
        self.state.reset_after_fork("the process forked")
        if self.state.outbox:
            start_thread(partial(self.notify, self, here=True), "lastcache-forked", lambda _why: None)


def _serve(held: "list[ThreadPlace[K, V, E]]", worker: Worker) -> None:
    """Work for a cache, without keeping it alive while there is nothing to do: a thread keeps its arguments."""
    shell = held.pop()
    if not shell.begin_work(worker):
        return
    while True:
        mailbox = Mailbox()
        if not shell.work_safely(worker, mailbox):
            return
        known = ref(shell, mailbox.put)
        del shell
        caller = _caller(mailbox, known)
        if caller is None:
            return
        shell = caller
        del caller, known


def _caller(mailbox: Mailbox, known: "ref[ThreadPlace[K, V, E]]") -> "ThreadPlace[K, V, E] | None":
    """Wait for the cache to send for its idle worker; None where the worker is to end."""
    try:
        sent = mailbox.get(timeout=LINGER)
    except Empty:
        alive = known()
        return None if alive is None or alive.retire(mailbox) else alive
    return cast("ThreadPlace[K, V, E]", sent) if isinstance(sent, ThreadPlace) else None


def _release(lock: Lock) -> None:
    with suppress(RuntimeError):
        lock.release()


def _alone(callback: BatchCallback[K, V, E], key: K) -> Outcome[V, E]:
    """Load one key with a callback of many."""
    returned = callback((key,))
    check_mapping(returned)
    return outcome_of(key, returned)
