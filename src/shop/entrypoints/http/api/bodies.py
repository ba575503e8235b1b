"""JSON bodies, read strictly: types are not converted, unknown and repeated fields are refused."""

import json
from collections.abc import Generator
from functools import lru_cache
from operator import attrgetter
from types import NoneType
from typing import Any, ClassVar, get_args

import msgspec
from litestar.dto import AbstractDTO, DTOConfig
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from shop.domain.errors import Invalid, InvalidField
from shop.entrypoints.http.errors import EncodedBody, UnsupportedMediaType


class MalformedBody(Invalid):
    code = "malformed_body"
    title = "The body cannot be read"


class StrictJSON(AbstractDTO[Any]):
    """Decodes bodies in the place of Litestar.

    Litestar's decoder converts `"2"` to 2 and keeps the last of repeated fields.
    """

    config = DTOConfig()
    model_type = object
    _decoders: ClassVar[dict[str, msgspec.json.Decoder[Any]]] = {}

    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        return True

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        kind = field_definition.annotation
        if field_definition.is_optional:
            # A body that may be left out is still not null when it is there.
            [kind] = [inner for inner in get_args(kind) if inner is not NoneType]
        cls._decoders[handler_id] = msgspec.json.Decoder(kind)

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema

    @classmethod
    def generate_field_definitions(
        cls, model_type: type[Any]
    ) -> Generator[DTOFieldDefinition, None, None]:
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        return False

    def decode_bytes(self, value: bytes) -> Any:
        """The body as the handler's Struct.

        Raises `UnsupportedMediaType`, `MalformedBody` and `InvalidFields`.
        """
        headers = self.asgi_connection.headers
        media_type = headers.get("content-type", "")
        if media_type.partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise EncodedBody
        decoder = self._decoders[_handler_id(self.asgi_connection.route_handler)]
        try:
            body = decoder.decode(value)
        except msgspec.ValidationError as error:
            raise _invalid_field(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise MalformedBody("The body is not valid JSON in UTF-8.") from None
        # What fits the type is small and shallow by now, so the slower second look is cheap.
        _refuse_repeated(_PAIRS.decode(value.decode()))
        return body


# Litestar puts it together from strings each time it is asked for.
_handler_id = lru_cache(256)(attrgetter("handler_id"))


# Objects become tuples of names and values, arrays are lists.
_PAIRS = json.JSONDecoder(object_pairs_hook=tuple)


def _refuse_repeated(value: object, *path: str) -> None:
    if isinstance(value, list):
        for position, inner in enumerate(value):
            _refuse_repeated(inner, *path, str(position))
    elif isinstance(value, tuple):
        names = set()
        for name, inner in value:
            if name in names:
                raise InvalidField(".".join((*path, name)), "must not be given twice")
            names.add(name)
            _refuse_repeated(inner, *path, name)


def each_field_once(body: bytes, decoded: msgspec.Struct) -> bool:
    """Whether no field is given twice: a cheap look, which may be wrong in saying no.

    The same content is written anew and its quotation marks are counted, of which every name and
    every text has two. The body has as many, or more: a field that is given twice, or a default
    that is given although it could be left out. So the Structs must have `omit_defaults`, and
    nothing in them may be written as a text that can also be given as something else.
    """
    return b"\\" not in body and body.count(b'"') == _encode(decoded).count(b'"')


_encode = msgspec.json.Encoder().encode


def _invalid_field(message: str) -> InvalidField:
    """msgspec says "Expected `int`, got `str` - at `$.items[0].quantity`"."""
    problem, _, path = message.partition(" - at `$")
    field = path.rstrip("`").replace("[", ".").replace("]", "").lstrip(".")
    if problem.startswith("Object contains unknown field"):
        unknown = problem.split("`")[1]
        return InvalidField(f"{field}.{unknown}".lstrip("."), "is not a field of this body")
    if problem.startswith("Object missing required field"):
        missing = problem.split("`")[1]
        return InvalidField(f"{field}.{missing}".lstrip("."), "is missing")
    return InvalidField(field or "body", problem[0].lower() + problem[1:])
