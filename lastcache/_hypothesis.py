"""How Hypothesis comes to know the records of lastcache, whichever of the two is imported first.

Hypothesis imports this module through the entry point that it documents for libraries, in every run of whoever has
lastcache installed. So it imports nothing before it has to.
"""

import sys
from typing import Any


def introduce() -> None:
    """Let ``st.from_type``, and so ``st.builds``, draw the records, once these and Hypothesis are both there.

    Each of the two sides calls this at the end of its import. To do it again changes nothing.
    """
    records = "lastcache.records" in sys.modules or "lastcache.config" in sys.modules
    # None stands for a module that cannot be imported.
    if records and sys.modules.get("hypothesis") is not None:
        _register()


def _register() -> None:
    from hypothesis import strategies as st

    from lastcache.config import Config
    from lastcache.records import CachedValue, LoadFailure, StoredEntry

    def drawn(record: type[Any]) -> st.SearchStrategy[Any]:
        # Not before it is asked for: what imports Hypothesis or the records may be the strategies themselves.
        from lastcache.testing.strategies import of_record

        return of_record(record)

    st.register_type_strategy(Config, drawn)
    st.register_type_strategy(CachedValue, drawn)
    st.register_type_strategy(LoadFailure, drawn)
    st.register_type_strategy(StoredEntry, drawn)
