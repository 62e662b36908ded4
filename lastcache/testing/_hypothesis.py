"""What Hypothesis is told about the records of lastcache."""

from typing import Any


def register() -> None:
    """Let ``st.from_type``, and so ``st.builds``, draw the records. To do it again changes nothing."""
    from hypothesis import strategies as st

    from lastcache.config import Config
    from lastcache.records import CachedValue, LoadFailure, StoredEntry

    def drawn(record: type[Any]) -> st.SearchStrategy[Any]:
        # Not before it is asked for: the module of the strategies may be what imports Hypothesis.
        from lastcache.testing.strategies import of_record

        return of_record(record)

    st.register_type_strategy(Config, drawn)
    st.register_type_strategy(CachedValue, drawn)
    st.register_type_strategy(LoadFailure, drawn)
    st.register_type_strategy(StoredEntry, drawn)
