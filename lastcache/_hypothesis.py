"""How Hypothesis comes to know the records of lastcache, whichever of the two is imported first.

Hypothesis imports this module through the entry point that it documents for libraries, in every run of whoever has
lastcache installed. So it imports nothing.
"""

import sys


def introduce() -> None:
    """Register the records once both sides are there; each side calls this at the end of its import."""
    records = "lastcache.records" in sys.modules or "lastcache.config" in sys.modules
    # None stands for a module that cannot be imported.
    if records and sys.modules.get("hypothesis") is not None:
        from lastcache.testing._hypothesis import register

        register()
