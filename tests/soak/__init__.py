"""A soak: ``python -m tests.soak --minutes N`` plays random rounds with caches, and holds every answer to the promises.

A round has a cache of its own, options drawn by chance and a clock that the players move. What happens is written into
a history (``history``). When the round is over, laws that know nothing but the promises judge it (``laws``).
"""
