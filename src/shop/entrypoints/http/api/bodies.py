"""JSON bodies, read strictly: types are not converted, unknown and repeated fields are refused."""

import json
import math
from collections.abc import Generator
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from types import NoneType
from typing import Any, ClassVar, get_args

import msgspec
from litestar.dto import AbstractDTO, DTOConfig
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from shop.domain.errors import Invalid, InvalidField, InvalidFields
from shop.entrypoints.http.api.fields import Shape, shape_of, wrong_fields
from shop.entrypoints.http.errors import EncodedBody, UnsupportedMediaType
from shop.entrypoints.settings import Settings


class MalformedBody(Invalid):
    code = "malformed_body"
    title = "The body cannot be read"


class StrictJSON(AbstractDTO[Any]):
    """Decodes bodies in the place of Litestar.

    Litestar's decoder converts `"2"` to 2 and keeps the last of repeated fields.
    """

    config = DTOConfig()
    model_type = object
    _bodies: ClassVar[dict[str, tuple[msgspec.json.Decoder[Any], Shape]]] = {}

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
        cls._bodies[handler_id] = msgspec.json.Decoder(kind), shape_of(kind)

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
        decoder, shape = self._bodies[_handler_id(self.asgi_connection.route_handler)]
        try:
            body = _decoded(decoder, value)
            # Also where it fits: a field may be given twice, and a text may break a rule.
            problems = wrong_fields(shape, _PAIRS.decode(value.decode()), self._currency())
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise MalformedBody("The body is not valid JSON in UTF-8.") from None
        if problems:
            raise InvalidFields(problems)
        if body is None:
            raise InvalidField("body", "is not what is taken here")
        return body

    def _currency(self) -> str:
        settings: Settings = self.asgi_connection.app.state.settings()
        return settings.currency


def _decoded(decoder: msgspec.json.Decoder[Any], value: bytes) -> Any:
    """The body; None if it does not fit. Raises `msgspec.DecodeError` if it is no JSON."""
    try:
        return decoder.decode(value)
    except msgspec.ValidationError:
        # It may be refused before its end is read.
        with suppress(msgspec.ValidationError):
            msgspec.json.decode(value)
        return None


# Litestar puts it together from strings each time it is asked for.
_handler_id = lru_cache(256)(attrgetter("handler_id"))


# Objects become tuples of names and values, arrays are lists. Integers that take long to be read
# are beyond every limit, like one without an end.
_PAIRS = json.JSONDecoder(
    object_pairs_hook=tuple,
    parse_int=lambda digits: int(digits) if len(digits) <= 400 else math.inf,
)


def each_field_once(body: bytes, decoded: msgspec.Struct) -> bool:
    """Whether no field is given twice: a cheap look, which may be wrong in saying no.

    The same content is written anew and its quotation marks are counted, of which every name and
    every text has two. The body has as many, or more: a field that is given twice, or a default
    that is given although it could be left out. So the Structs must have `omit_defaults`, and
    nothing in them may be written as a text that can also be given as something else.
    """
    return b"\\" not in body and body.count(b'"') == _encode(decoded).count(b'"')


_encode = msgspec.json.Encoder().encode
