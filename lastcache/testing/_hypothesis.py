"""The entry point of Hypothesis in the metadata of editable installs that were made before it moved."""

from lastcache._hypothesis import introduce as register

__all__ = ["register"]
