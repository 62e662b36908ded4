"""Tests of the second level: the stores beside a cache."""
