"""The sender of one cache: a daemon thread that tells the store what is owed, and finds out when it is back.

It runs while there is something to do, and a second longer, and keeps no cache alive.
"""

import logging
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeAlias, final
from weakref import ref

from lastcache._shell.background import LINGER, start_thread

FAILED_PAUSE: Final = 1.0
"""The seconds after which it is tried again where something that the user gave, such as the key function, raised."""


Start: TypeAlias = Callable[[Callable[[], object], str, Callable[[str], object]], object]
"""Has a function run in a thread of this name, or says why there can be none."""


class Sends(Protocol):
    """What has something to send."""

    def send(self) -> float | None:
        """Send what there is; give the seconds after which to look again, None where nothing is left."""
        ...


@final
class Sender:
    """Starts the thread, by ``start``, and wakes it. ``mailbox`` is where it waits, None where there is no thread.

    Both lines that change it are one step each: two threads at once are harmless, since what is owed is claimed.
    It is over once its cache was closed.
    """

    __slots__ = ("_mailbox", "_start", "is_over")

    def __init__(self, start: Start = start_thread) -> None:
        self._start = start
        self.is_over: bool = False
        self._mailbox: SimpleQueue[object] | None = None

    def wake(self, sends: Sends) -> None:
        """Have what there is sent, soon."""
        mailbox = self._mailbox
        if mailbox is not None:
            mailbox.put(None)
            return
        self._mailbox = mailbox = SimpleQueue[object]()
        try:
            self._start(partial(_run, ref(sends, mailbox.put), mailbox, self), "lastcache-sender", self._refused)
        except BaseException:
            # An interrupt: there may be no thread, and two are harmless.
            self._mailbox = None
            raise

    def end(self) -> None:
        """End the thread, which has nothing to send any more."""
        self.is_over, mailbox = True, self._mailbox
        if mailbox is not None:
            mailbox.put(None)

    def anew(self) -> "Sender":
        """Give one without a thread, for the child of a fork."""
        return Sender(self._start)

    def _refused(self, _why: str) -> None:
        self._mailbox = None

    def retire(self, mailbox: "SimpleQueue[object]") -> bool:
        """End the thread; not so if it was woken meanwhile."""
        if self._mailbox is mailbox:
            self._mailbox = None
        return mailbox.empty()


def _run(known: "ref[Sends]", mailbox: "SimpleQueue[object]", sender: Sender) -> None:
    while True:
        sends = known()
        if sends is None or sender.is_over:
            return
        try:
            pause = sends.send()
        except Exception:
            logging.getLogger("lastcache").exception("what is owed to a store could not be told")
            pause = FAILED_PAUSE
        del sends
        if pause is None and not _is_woken(mailbox, LINGER) and sender.retire(mailbox):
            return
        if pause:
            _is_woken(mailbox, pause)


def _is_woken(mailbox: "SimpleQueue[object]", seconds: float) -> bool:
    """Wait to be woken, for so many seconds at most."""
    try:
        mailbox.get(timeout=seconds)
    except Empty:
        return False
    return True
