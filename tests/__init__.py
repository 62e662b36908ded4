"""The tests of lastcache."""
