"""What type checkers refuse of a second level; an ignore that became needless is an error, so each line is one."""

from cattrs.preconf.json import make_converter

from lastcache.second.cattrs import cattrs_codec
from lastcache.second.codecs import Codec, bytes_codec, json_codec, read_json
from lastcache.second.msgspec import msgspec_codec
from lastcache.second.options import Second
from lastcache.second.protocol import Store
from lastcache.second.pydantic import pydantic_codec
from lastcache.testing import check_codec
from tests.typed.second import ByHand, User, as_json, from_json, from_the_first


def as_set(user: User) -> set[str]:
    """Write a user as what JSON has no form for."""
    return {user.name}


def codecs() -> None:
    """A codec is of one type, in and out, for older schemas too."""
    json_codec("user-1", encode=as_json)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    json_codec("user-1", decode=from_json)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    json_codec("user-1", encode=as_set, decode=from_json)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    json_codec("user-1", encode=as_json, decode=str)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    json_codec("user-1", encode=as_json, decode=from_json, older={"user-0": bytes.decode})  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    json_codec("any-1").encode({1, 2})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    json_codec("any-1").encode({1: 2})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    json_codec("any-1").encode((1, 2))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bytes_codec("user-1", encode=str.encode, decode=from_the_first)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    msgspec_codec(User, "user-1").encode("Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    msgspec_codec(User, b"user-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    _one: Codec[User] = msgspec_codec(User, "user-1", older={"user-0": read_json})  # type: ignore[dict-item]  # pyright: ignore[reportAssignmentType]
    pydantic_codec(User, "user-1").encode(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    _other: Codec[User] = pydantic_codec(User, "user-1", older={"user-0": read_json})  # type: ignore[dict-item]  # pyright: ignore[reportAssignmentType]
    cattrs_codec(make_converter(), User, "user-1").encode("Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cattrs_codec(User, User, "user-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    check_codec(ByHand(), "Ada")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]


def options(store: Store, texts: Codec[str]) -> None:
    """A second level takes keywords, a codec of its values, and a function of its keys."""
    Second[int, User](store, ByHand(), "users")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Second[int, User](store=store, codec=texts, namespace="users")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Second[int, User](store=store, codec=ByHand())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Second[int, User](store=store, codec=ByHand(), namespace="users", key=str.encode)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Second[int, User](store=store, codec=ByHand(), namespace="users", key=str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Second[int, User](store=store, codec=ByHand(), namespace="users", trust_for=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Second[int, User](store=None, codec=ByHand(), namespace="users")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Second[int, User](store=store, codec=ByHand(), namespace="users").key("ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Second[int, User](store=store, codec=ByHand(), namespace="users").namespace = "others"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
