"""A second level: a store beside the cache, which outlives the process and is shared by many.

What is here are its parts. No cache uses them yet.
"""
