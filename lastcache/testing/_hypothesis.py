"""What Hypothesis calls when it is imported, through the entry point that it documents for libraries."""


def register() -> None:
    """Let ``st.from_type``, and so ``st.builds``, draw the records of lastcache."""
    from hypothesis import strategies as st

    from lastcache.config import Config
    from lastcache.records import CachedValue, LoadFailure, StoredEntry
    from lastcache.testing import strategies

    st.register_type_strategy(Config, strategies.configs())
    st.register_type_strategy(CachedValue, strategies.of_type(strategies.cached_values))
    st.register_type_strategy(LoadFailure, strategies.of_type(strategies.load_failures))
    st.register_type_strategy(StoredEntry, strategies.of_type(strategies.stored_entries))
