"""A store in a file of SQLite: for the processes of one machine, and over their restarts."""

from lastcache.second.sqlite._store import SqliteStore

__all__ = ["SqliteStore"]
