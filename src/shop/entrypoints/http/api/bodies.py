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

from shop.domain.bulk import RefusedRow
from shop.domain.errors import Invalid, InvalidField, InvalidFields
from shop.domain.products import SKU_LENGTH_MAX
from shop.entrypoints.http.api.fields import (
    ROW_ERRORS_MAX,
    RowShapes,
    Shape,
    row_shapes,
    shape_of,
    wrong_fields,
)
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
        self._check_media_type()
        decoder, shape = self._bodies[_handler_id(self.asgi_connection.route_handler)]
        try:
            body = _decoded(decoder, value)
            # Also where it fits: a field may be given twice, and a text may break a rule.
            problems = wrong_fields(shape, _PAIRS.decode(value.decode()), self._currency())
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise _malformed() from None
        if problems:
            raise InvalidFields(problems)
        if body is None:
            raise InvalidField("body", "is not what is taken here")
        return body

    def _check_media_type(self) -> None:
        """Raises `UnsupportedMediaType`."""
        headers = self.asgi_connection.headers
        media_type = headers.get("content-type", "")
        if media_type.partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise EncodedBody

    def _currency(self) -> str:
        settings: Settings = self.asgi_connection.app.state.settings()
        return settings.currency


class RowsJSON(StrictJSON):
    """Decodes bodies that are many rows and a policy.

    What is wrong inside a row is the row's own trouble: in its place there is an `UnreadRow` then.
    """

    _rows: ClassVar[dict[str, tuple[type[Any], msgspec.json.Decoder[Any], RowShapes]]] = {}

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        super().create_for_field_definition(field_definition, handler_id, backend_cls)
        kind = field_definition.annotation
        shapes = row_shapes(kind)
        cls._rows[handler_id] = kind, msgspec.json.Decoder(shapes.kind), shapes

    def decode_bytes(self, value: bytes) -> Any:
        """The body as the handler's Struct, in which rows may be unread.

        Raises `UnsupportedMediaType`, `MalformedBody`, and `InvalidFields` for what is around the
        rows.
        """
        self._check_media_type()
        handler_id = _handler_id(self.asgi_connection.route_handler)
        decoder, _ = self._bodies[handler_id]
        try:
            with suppress(msgspec.ValidationError):
                body = decoder.decode(value)
                # What texts must be besides, the domain says of each row.
                if each_field_once(value, body):
                    return body
            return self._row_by_row(value, *self._rows[handler_id])
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise _malformed() from None

    def _row_by_row(
        self,
        value: bytes,
        kind: type[Any],
        decoder: msgspec.json.Decoder[Any],
        shapes: RowShapes,
    ) -> Any:
        with suppress(msgspec.ValidationError):
            # It may be refused before its end is read.
            msgspec.json.decode(value)
        pairs = _PAIRS.decode(value.decode())
        if problems := wrong_fields(shapes.around, pairs, self._currency()):
            raise InvalidFields(problems)
        around = msgspec.json.decode(value, type=_AroundRows)
        rows = [
            self._row(given, raw, decoder, shapes.row)
            for given, raw in zip(dict(pairs)["rows"], around.rows, strict=True)
        ]
        given = {} if around.policy is msgspec.UNSET else {"policy": around.policy}
        return kind(rows=rows, **given)

    def _row(
        self, given: Any, raw: msgspec.Raw, decoder: msgspec.json.Decoder[Any], shape: Shape
    ) -> Any:
        problems = wrong_fields(shape, given, self._currency(), ROW_ERRORS_MAX)
        if not isinstance(given, tuple):
            return UnreadRow(sku="", error=InvalidField("row", problems[0][1]))
        if not problems:
            with suppress(msgspec.ValidationError):
                return decoder.decode(raw)
            problems = [("row", "is not what is taken here")]
        return UnreadRow(sku=dict(given).get("sku"), error=InvalidFields(problems))


class _AroundRows(msgspec.Struct):
    rows: list[msgspec.Raw]
    policy: str | msgspec.UnsetType = msgspec.UNSET


class UnreadRow:
    """In the place of a row in which something is wrong."""

    def __init__(self, *, sku: object, error: InvalidFields) -> None:
        is_shown = isinstance(sku, str) and len(sku) <= SKU_LENGTH_MAX
        self._sku, self._error = str(sku) if is_shown else "", error

    def read(self, _currency: str) -> RefusedRow:
        return RefusedRow(sku=self._sku, error=self._error)


def _malformed() -> MalformedBody:
    return MalformedBody("The body is not valid JSON in UTF-8.")


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
