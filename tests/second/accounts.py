"""An account of five fields, as each kind of class that a codec knows, and what Hypothesis draws of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import attrs
import msgspec
import pydantic
from cattrs import Converter
from cattrs.preconf.json import make_converter
from hypothesis import strategies as st

from lastcache.second.cattrs import cattrs_codec
from lastcache.second.codecs import Codec, JsonValue, json_codec
from lastcache.second.msgspec import msgspec_codec
from lastcache.second.pydantic import pydantic_codec


@dataclass(frozen=True)
class Plain:
    """As a dataclass."""

    number: int
    name: str
    email: str | None
    tags: tuple[str, ...]
    score: float


@attrs.frozen
class Attrs:
    """As a class of attrs."""

    number: int
    name: str
    email: str | None
    tags: tuple[str, ...]
    score: float


class Struct(msgspec.Struct, frozen=True):
    """As a struct of msgspec."""

    number: int
    name: str
    email: str | None
    tags: tuple[str, ...]
    score: float


class Model(pydantic.BaseModel, frozen=True):
    """As a model of pydantic, with an alias, and a field that is computed."""

    model_config = pydantic.ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    number: int
    name: str
    email: str | None = pydantic.Field(validation_alias="mail", serialization_alias="e-mail")
    tags: tuple[str, ...]
    score: float

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic's own documentation has it
    @property
    def shown(self) -> str:
        """Give a name that is not stored."""
        return self.name.upper()


def written(account: Plain) -> JsonValue:
    """Write an account as JSON."""
    return {
        "number": account.number,
        "name": account.name,
        "email": account.email,
        "tags": list(account.tags),
        "score": account.score,
    }


def restored(read: JsonValue) -> Plain:
    """Make an account of JSON."""
    match read:
        case {
            "number": int(number),
            "name": str(name),
            "email": str() | None as email,
            "tags": list(tags),
            "score": float(score),
        }:
            return Plain(number, name, email, tuple(map(str, tags)), score)
        case _:
            raise ValueError(f"{read!r} is no account")


FIELDS: Final = st.tuples(
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.text(),
    st.none() | st.text(),
    st.lists(st.text()).map(tuple),
    st.floats(allow_nan=False, allow_infinity=False),
)
JSON: Final[st.SearchStrategy[JsonValue]] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def model(number: int, name: str, email: str | None, tags: tuple[str, ...], score: float) -> Model:
    """Make a model, whose email goes by another name outside."""
    return Model.model_validate({"number": number, "name": name, "mail": email, "tags": tags, "score": score})


PLAIN_JSON: Final = json_codec("any-1")
BY_HAND: Final = json_codec("account-1", encode=written, decode=restored)
BY_MSGSPEC: Final = msgspec_codec(Struct, "account-1")
BY_PYDANTIC: Final = pydantic_codec(Model, "account-1")
BY_CATTRS: Final = cattrs_codec(make_converter(), Attrs, "account-1")

CODECS: Final[Mapping[str, tuple[Codec[Any], st.SearchStrategy[Any]]]] = {
    "JSON": (PLAIN_JSON, JSON),
    "JSON of a dataclass": (BY_HAND, FIELDS.map(lambda fields: Plain(*fields))),
    "msgspec": (BY_MSGSPEC, FIELDS.map(lambda fields: Struct(*fields))),
    "msgspec of a dataclass": (msgspec_codec(Plain, "account-1"), FIELDS.map(lambda fields: Plain(*fields))),
    "pydantic": (BY_PYDANTIC, FIELDS.map(lambda fields: model(*fields))),
    "pydantic of a dataclass": (pydantic_codec(Plain, "account-1"), FIELDS.map(lambda fields: Plain(*fields))),
    "cattrs": (BY_CATTRS, FIELDS.map(lambda fields: Attrs(*fields))),
    "cattrs of a dataclass": (
        cattrs_codec(Converter(), Plain, "account-1"),
        FIELDS.map(lambda fields: Plain(*fields)),
    ),
}
"""Each codec, and values that it is for."""
