"""What tests hold a cache with: a clock, scripted callbacks, executors for the background, a store, a law of codecs.

``lastcache.testing.tasks`` has the callbacks for ``AsyncLastCache``, ``lastcache.testing.strategies`` what Hypothesis
draws, and ``lastcache.testing.fixtures`` a fixture for pytest; those two need ``lastcache[testing]``.
"""

from lastcache.second.memory import MemoryStore
from lastcache.testing._clock import ManualClock
from lastcache.testing._codecs import check_codec
from lastcache.testing._executors import ManualExecutor, run_inline
from lastcache.testing._scripts import ScriptedLoad

__all__ = ["ManualClock", "ManualExecutor", "MemoryStore", "ScriptedLoad", "check_codec", "run_inline"]
