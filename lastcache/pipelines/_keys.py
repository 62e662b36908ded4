"""The key of a call of a function with one argument: the argument."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lastcache.errors import ConfigError


def key_of_argument(function: Callable[..., object]) -> Callable[..., Any]:  # the decorators' types say which key
    """Give what takes the key from the arguments of ``function``: its first, by position, by name, or by default.

    Raises ``ConfigError`` for a function that cannot be called with one argument. The key function raises
    ``TypeError`` for a call with more than the key.
    """
    signature = _signature_of(function)
    if signature is None:
        return _only_positional

    def key(*args: object, **kwargs: object) -> object:
        if len(args) == 1 and not kwargs:
            return args[0]
        return _first_of(signature, args, kwargs)

    return key


def _first_of(signature: inspect.Signature, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
    bound = signature.bind(*args, **kwargs)
    name = next(iter(signature.parameters))
    if len(args) + len(kwargs) > 1 or (kwargs and name not in kwargs):
        raise TypeError(f"only {name!r} is the key: a call with other arguments needs `key=` in the decorator")
    bound.apply_defaults()
    return bound.arguments[name]


def _signature_of(function: Callable[..., object]) -> inspect.Signature | None:
    """Give the parameters, or None for a function in C that does not tell."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return None
    except TypeError as err:
        raise ConfigError(f"{function!r}: must be a function of one argument, or be given `key=`") from err
    try:
        signature.bind("the key")
    except TypeError as err:
        raise ConfigError(f"{function!r} takes {signature}: must take one argument, or be given `key=`") from err
    return signature


def _only_positional(key: object, /) -> object:
    return key
