"""Hearing at once what other processes write: one subscription for all caches of a store, in one daemon thread.

A message may be lost at any moment, and a server that has stopped looks like one where nobody writes. So the thread
asks for a sign of life when it has heard nothing for a while, and connects anew where none comes. What is missed
meanwhile is found out when a process asks, as ever.
"""

import logging
import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, Protocol, final
from weakref import ref

from lastcache.second.protocol import How, Listener, StoreFailure, Trouble, Version, Wrote
from lastcache.second.redis._troubles import failure_of
from lastcache.second.redis._wire import WORD, generation_key, name_of

LOOK: Final = 0.25
"""The seconds after which the thread looks whether somebody new listens, or nobody any more."""
SILENCE: Final = 1.0
"""The seconds of silence after which a sign of life is asked for, and those within which it must come."""
SHORTEST: Final = 0.1
LONGEST: Final = 2.0
"""The seconds between two tries to connect anew: doubled each time."""

_CHANGE: Final = struct.Struct("<8sd")
_HOW: Final = {b"P": How.SET, b"F": How.DELETED, b"E": How.EXPIRED}
_CLEARED: Final = b"C"


class Subscribes(Protocol):
    """What is needed of a client beside its commands."""

    def pubsub(self) -> Any:
        """Give a subscription."""
        ...


@final
class Push:
    """What the caches of one store hear; ``own`` marks what they write themselves."""

    def __init__(self, client: Subscribes) -> None:
        self._client = client
        self._guard = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self.own: bytes = os.urandom(WORD)
        self._listeners: dict[bytes, list[ref[Listener]]] = {}
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._lost_at: float | None = None
        self._heard = set[bytes]()

    def hears(self) -> bool:
        """Say whether all that is listened to is heard, as far as is known."""
        with self._guard:
            return self._lost_at is None and len(self._listeners) > 0 and self._listeners.keys() <= self._heard

    def reset_after_fork(self) -> None:
        """Hear nothing, as the child of a fork, which has no thread."""
        self._guard = threading.Lock()
        self._reset()

    def listen(self, namespace: bytes, listener: Listener) -> bool:
        """Tell ``listener`` what other stores write, as long as it lives; say whether that can be done."""
        refused = self._begin(generation_key(namespace), listener)
        if refused is not None:
            listener.lost(refused)
        return refused is None and not self._over.is_set()

    def _begin(self, channel: bytes, listener: Listener) -> StoreFailure | None:
        """Write a listener down, and start the thread; say why there can be none."""
        with self._guard:
            if self._over.is_set():
                return None
            self._listeners.setdefault(channel, []).append(ref(listener))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lastcache-push", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as err:
                    self._thread = None
                    self._listeners.clear()
                    return StoreFailure(Trouble.BROKEN, f"no thread can be had: {err}")
        return None

    def end(self) -> None:
        """Hear nothing any more."""
        self._over.set()

    def _channels(self) -> set[bytes]:
        """Give the channels on which somebody listens; those who do no more are forgotten."""
        with self._guard:
            for channel, listeners in list(self._listeners.items()):
                listeners[:] = [each for each in listeners if each() is not None]
                if not listeners:
                    del self._listeners[channel]
            if not self._listeners:
                self._thread = None
            return set(self._listeners)

    def _run(self) -> None:
        pause = SHORTEST
        while not self._over.is_set() and self._channels():
            try:
                self._subscribe()
            except Exception as err:
                pause = SHORTEST if self._lost_at is None else min(2 * pause, LONGEST)
                self._lose(failure_of(err))
                self._over.wait(pause)
            else:
                return

    def _subscribe(self) -> None:
        """Hear until nobody listens any more. Raises what the client raises."""
        subscription = self._client.pubsub()
        try:
            self._hear(subscription)
        finally:
            self._heard.clear()
            with suppress(Exception):
                subscription.close()

    def _hear(self, subscription: Any) -> None:
        subscribed, silence = set[bytes](), _Silence()
        while not self._over.is_set() and (channels := self._channels()):
            if new := channels - subscribed:
                subscription.subscribe(*new)
                subscribed |= new
            message = subscription.get_message(timeout=LOOK)
            if message is not None:
                silence.ends()
                self._take(message)
            elif silence.is_suspicious():
                subscription.ping()

    def _take(self, message: Any) -> None:
        match message:
            case {"type": "subscribe", "channel": bytes(channel)}:
                self._heard.add(channel)
                self._find()
            case {"type": "message", "channel": bytes(channel), "data": bytes(said)} if said[:WORD] != self.own:
                self._tell(channel, said[WORD : WORD + 1], said[WORD + 1 :])
            case _:
                pass

    def _tell(self, channel: bytes, kind: bytes, said: bytes) -> None:
        """Tell those who listen; what is no message of a store is nothing."""
        if kind == _CLEARED and len(said) == WORD:
            self._each(lambda listener: listener.cleared(said), channel)
        elif kind in _HOW and len(said) > _CHANGE.size:
            epoch, writes = _CHANGE.unpack_from(said)
            with suppress(ValueError, OverflowError):
                generation, name = name_of(said[_CHANGE.size :])
                wrote = Wrote(name, generation, _HOW[kind], Version(epoch, int(writes)))
                self._each(lambda listener: listener.wrote(wrote), channel)

    def _lose(self, failure: StoreFailure) -> None:
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            self._each(lambda listener: listener.lost(failure))

    def _find(self) -> None:
        if self._lost_at is not None:
            lost_for, self._lost_at = timedelta(seconds=time.monotonic() - self._lost_at), None
            self._each(lambda listener: listener.back(lost_for))

    def _each(self, tell: Callable[[Listener], object], channel: bytes | None = None) -> None:
        with self._guard:
            known = [each for at, all_of in self._listeners.items() if channel in (None, at) for each in all_of]
        for each in known:
            listener = each()
            if listener is not None:
                try:
                    tell(listener)
                except Exception:
                    logging.getLogger("lastcache").exception("what another process wrote could not be taken in")


@final
class _Silence:
    """How long nothing has been heard."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._asked = False

    def ends(self) -> None:
        self._since, self._asked = time.monotonic(), False

    def is_suspicious(self) -> bool:
        """Say whether a sign of life is to be asked for. Raises ``TimeoutError`` where none has come."""
        if time.monotonic() < self._since + SILENCE:
            return False
        if self._asked:
            raise TimeoutError("the server gave no sign of life to who listens")
        self._since, self._asked = time.monotonic(), True
        return True
