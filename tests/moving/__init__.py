"""Programs before and after they moved here from other caches; ``docs/moving.md`` shows them, and a test runs them."""
