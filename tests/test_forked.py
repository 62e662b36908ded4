"""The child of a fork: no thread of it is taken for one of its parent's, and every cache begins anew."""

from tests.test_processes import forks, run


@forks
def test_a_thread_with_the_ident_of_a_lost_one() -> None:
    """In the child of a fork a thread writes and loads as ever, also if one that had its ident was inside the lock."""
    run("""
        inside, gate = threading.Event(), threading.Event()
        class Slow(str):
            __hash__ = str.__hash__
            def __eq__(self, other):
                if threading.current_thread() is not threading.main_thread():
                    inside.set(); gate.wait(20)
                return str.__eq__(self, other)
        cache.set(Slow("k"), "v")
        writer = threading.Thread(target=lambda: cache.delete(Slow("k")), daemon=True)
        writer.start(); inside.wait(20)

        def child():
            found = threading.Event()
            def use():
                if threading.get_ident() != writer.ident:
                    found.wait(5)
                    return
                cache.set("set", "w")
                cache.load_or_store("loaded", lambda _: Success("w"))
                found.set()
            # The system gives the ident of a lost thread to one of the first that come.
            for _ in range(50):
                threading.Thread(target=use, daemon=True).start()
                if found.wait(0.05):
                    break
            assert found.is_set(), "the ident came to nobody"
            assert {"set", "loaded"} <= {entry.key for entry in cache.entries()}
        in_child(child)
        gate.set(); writer.join(20)
    """)


@forks
def test_every_cache_begins_anew() -> None:
    """Where what one cache tells in the child of a fork raises, the other caches begin anew all the same."""
    run("""
        # What happens to the one that cannot is told on stderr.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        gate, caches = threading.Event(), [LastCache(clock=lambda: now[0]) for _ in range(5)]
        started = threading.Semaphore(0)
        def load(_):
            started.release(); gate.wait(20); return Success("parent")
        parent = os.getpid()
        def end_the_thread(_refresh):
            if os.getpid() != parent:
                sys.exit(1)
        for each in caches:
            each.set("behind", "old")
            each.expire("behind")
            each.async_load_or_store("behind", load).unwrap().refresh.add_done_callback(end_the_thread)
            threading.Thread(target=lambda: each.load_or_store("k", load), daemon=True).start()
            for _ in range(2):
                assert started.acquire(timeout=5)
        # No thread can be had in which they could be told.
        size = threading.stack_size(1 << 50)
        def child():
            global cache
            threading.stack_size(size)
            for cache in caches:
                assert loads_again() == Success(CachedValue("again"))
        in_child(child)
        gate.set()
    """)
