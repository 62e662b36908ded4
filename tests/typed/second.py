"""The types of a second level's parts; each function is checked, and run by ``tests.test_typed``."""

from dataclasses import dataclass
from typing import assert_type

from cattrs.preconf.json import make_converter
from msgspec.msgpack import Decoder
from pydantic import TypeAdapter

from lastcache import Config
from lastcache.second.cattrs import cattrs_codec
from lastcache.second.codecs import Codec, JsonValue, JsonWritable, bytes_codec, json_codec, read_json
from lastcache.second.keys import plain_key, record_name
from lastcache.second.msgspec import msgspec_codec
from lastcache.second.options import Second, SecondPolicy, second_policy_of
from lastcache.second.protocol import Store
from lastcache.second.pydantic import pydantic_codec
from lastcache.testing import check_codec


@dataclass(frozen=True)
class User:
    """A value."""

    name: str
    age: int


def as_json(user: User) -> dict[str, str | int]:
    """Write a user: a dict of a narrower type than JSON has."""
    return {"name": user.name, "age": user.age}


def from_json(read: JsonValue) -> User:
    """Read a user."""
    match read:
        case {"name": str(name), "age": int(age)}:
            assert_type(name, str)
            assert_type(age, int)
            return User(name, age)
        case _:
            raise ValueError(f"{read!r} is no user")


def from_the_first(body: bytes) -> User:
    """Read a user as the first release wrote it."""
    return User(body.decode(), 0)


def json_values() -> None:
    """Without functions it is a codec of JSON values, and of nothing narrower."""
    codec = json_codec("any-1")
    assert_type(codec, Codec[JsonValue])
    read = codec.decode(codec.encode({"a": [1, None, "b"]}), codec.schema)
    assert_type(read, JsonValue)
    assert_type(json_codec("any-2", older={"any-1": read_json}), Codec[JsonValue])


def json_of_users() -> None:
    """With two functions it is a codec of their type, whether they are lambdas or not."""
    assert_type(json_codec("user-1", encode=as_json, decode=from_json), Codec[User])
    by_lambda = json_codec("user-1", encode=lambda user: {"name": user.name, "age": user.age}, decode=from_json)
    assert_type(by_lambda, Codec[User])
    codec = json_codec("user-1", encode=as_json, decode=from_json, older={"user-0": from_the_first})
    assert_type(codec, Codec[User])
    assert_type(codec.decode(b"Ada", "user-0"), User)
    writable: JsonWritable = {"a": (1, 2), "b": {"c": None}}
    assert json_codec("a", encode=lambda _: writable, decode=str).encode("")


def of_libraries() -> None:
    """Each library's codec has the type that it is given."""
    older = {"user-0": from_the_first}
    assert_type(msgspec_codec(User, "user-1", older=older), Codec[User])
    assert_type(pydantic_codec(User, "user-1", older=older), Codec[User])
    assert_type(cattrs_codec(make_converter(), User, "user-1", older=older), Codec[User])
    assert_type(bytes_codec("text-1", encode=str.encode, decode=bytes.decode), Codec[str])
    assert_type(msgspec_codec(list[User], "users-1"), Codec[list[User]])
    assert_type(pydantic_codec(list[User], "users-1"), Codec[list[User]])
    assert_type(cattrs_codec(make_converter(), list[User], "users-1"), Codec[list[User]])


def of_unions() -> None:
    """A union, which is no class, goes by a decoder of msgspec, or by an adapter of pydantic."""
    decoder: Decoder[User | None] = Decoder(User | None)
    assert_type(msgspec_codec(decoder, "user-1"), Codec[User | None])
    adapter: TypeAdapter[User | None] = TypeAdapter(User | None)
    assert_type(pydantic_codec(adapter, "user-1"), Codec[User | None])


class ByHand:
    """A codec of one's own needs no base class; the schema may be an attribute."""

    schema = "user-1"

    def encode(self, value: User, /) -> bytes:
        """Write the name."""
        return value.name.encode()

    def decode(self, body: bytes, schema: str, /) -> User:
        """Read the name."""
        if schema != self.schema:
            raise ValueError(schema)
        return from_the_first(body)


def by_hand() -> None:
    """The law is for codecs of one's own, too."""
    codec: Codec[User] = ByHand()
    check_codec(codec, User("Ada", 0))
    check_codec(ByHand(), User("Ada", 0), User("Bob", 0))


def keys() -> None:
    """Names of records are bytes."""
    assert_type(plain_key(("ada", 1)), bytes)
    assert_type(record_name(b"users", b"1", plain_key(1)), bytes)


def users_by_number(store: Store) -> Second[int, User]:
    """Where the type is told, the key's type is it."""
    return Second(store=store, codec=ByHand(), namespace="users")


def options(store: Store) -> None:
    """A second level has the types of the cache's keys and values."""
    by_number = Second[int, User](store=store, codec=msgspec_codec(User, "user-1"), namespace="users")
    assert_type(by_number.codec, Codec[User])
    assert_type(by_number.key(1), bytes)
    by_name = Second(store=store, codec=ByHand(), namespace="users", key=str.encode)
    assert_type(by_name, Second[str, User])
    assert_type(users_by_number(store), Second[int, User])
    assert_type(second_policy_of(by_name, Config()), SecondPolicy)
