"""A store in Redis or Valkey, for many machines; needs ``lastcache[redis]`` or ``lastcache[valkey]``."""

from lastcache.second.redis._store import RedisStore

__all__ = ["RedisStore"]
