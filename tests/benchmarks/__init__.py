"""Measurements beside other caches; never timed by the tests."""
