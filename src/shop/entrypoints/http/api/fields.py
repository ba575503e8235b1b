"""What is wrong with the fields of a request: each of them is named, in words.

msgspec checks what comes in, but it names the first wrong field only, and in Python's words. So
what comes in is looked through once more here, by the same types, and slower.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, TypeAlias, Union, get_args, get_origin

import msgspec
from litestar.connection import ASGIConnection
from litestar.enums import ParamType
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg
from litestar.utils.signature import ParsedSignature
from msgspec import inspect

from shop.domain.errors import InvalidFields

ERRORS_MAX = 100
"""How many are named; enough for an order that is wrong in every line."""
ROW_ERRORS_MAX = 10
"""The same in one of many rows."""
NAME_LENGTH_MAX = 100
"""How much is repeated of a name that a client made up."""

Wrong: TypeAlias = Iterator[tuple[str, str]]
"""Fields by their dotted paths, and what each must be."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Beside the type of a text: who reads it, which says what is wrong with it."""

    read: Callable[[str, str], object]
    """Takes the text and the shop's currency. Raises `InvalidField`."""


@dataclass(frozen=True, slots=True)
class Words:
    """Beside a type whose pattern says nothing to people: what the text must be."""

    must: str


class Shape(Protocol):
    """What a value must be."""

    def wrong(self, value: Any, field: str, currency: str) -> Wrong:
        """Objects are tuples of names and values, as in `bodies.py`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Single:
    kind: Any
    must: str
    rule: Rule | None
    strict: bool

    def wrong(self, value: Any, field: str, currency: str) -> Wrong:
        try:
            msgspec.convert(value, self.kind, strict=self.strict)
        except msgspec.ValidationError:
            yield field, self.must + _point_in(value, self.must)
            return
        if is_odd_number(value) and self.must.startswith(_WHOLE):
            yield field, self.must + _POINTLESS
            return
        if self.rule is not None and isinstance(value, str):
            try:
                self.rule.read(value, currency)
            except InvalidFields as error:
                for problem in error.context["errors"]:
                    yield field, problem["message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Many:
    item: Shape
    length_min: int
    length_max: int | None
    must: str
    nullable: bool

    def wrong(self, value: Any, field: str, currency: str) -> Wrong:
        if value is None and self.nullable:
            return
        if (
            not isinstance(value, list)
            or len(value) < self.length_min
            or (self.length_max is not None and len(value) > self.length_max)
        ):
            yield field, self.must
            return
        for position, each in enumerate(value):
            yield from self.item.wrong(each, f"{field}.{position}", currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    fields: Mapping[str, Shape]
    required: frozenset[str]
    together: Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]
    """Says what is wrong with the fields together, of those that are there and not null."""
    nullable: bool

    def wrong(self, value: Any, field: str, currency: str) -> Wrong:
        if value is None and self.nullable:
            return
        if not isinstance(value, tuple):
            names = ", ".join(self.fields)
            yield field or "body", f"must be an object with these fields: {names}"
            return
        path = f"{field}." if field else ""
        named = set()
        for name, must in self._wrong_alone(value, path, currency):
            named.add(name)
            yield name, must
        given = {name: each for name, each in value if name in self.fields and each is not None}
        for name, must in self.together(given):
            if path + name not in named:
                yield path + name, must

    def _wrong_alone(self, value: tuple[tuple[str, Any], ...], path: str, currency: str) -> Wrong:
        names = ", ".join(self.fields)
        given = Counter(name for name, _ in value)
        for name, each in dict(value).items():
            if given[name] > 1:
                yield path + name[:NAME_LENGTH_MAX], "must not be given twice"
            elif name in self.fields:
                yield from self.fields[name].wrong(each, path + name, currency)
            else:
                message = f"is not a field of this request; these are: {names}"
                yield path + name[:NAME_LENGTH_MAX], message
        for name in self.fields:
            if name in self.required and name not in given:
                yield path + name, "is required"


def _point_in(value: object, must: str) -> str:
    is_whole = isinstance(value, float) and value.is_integer() and must.startswith(_WHOLE)
    return _POINTLESS if is_whole else ""


_POINTLESS = ", written without a point and an exponent"
# What msgspec reads of a parameter as a whole number, such as 1.0 and 1e1, beside what is one.
_ODD_NUMBER = re.compile(r"-?[0-9]+[.eE].*", re.ASCII)


def is_odd_number(value: object) -> bool:
    return isinstance(value, str) and _ODD_NUMBER.fullmatch(value) is not None


def shape_of(kind: Any, *, strict: bool = True) -> Shape:
    """The shape of a type as msgspec reads it; strict for bodies, lax for parameters."""
    plain, marks, nullable = _unwrapped(kind)
    about = inspect.type_info(Annotated[plain, *marks] if marks else plain)
    if isinstance(about, inspect.Metadata):
        about = about.type
    match about:
        case inspect.StructType():
            fields = msgspec.structs.fields(plain)
            return _Object(
                fields={each.encode_name: shape_of(each.type, strict=strict) for each in fields},
                required=frozenset(each.encode_name for each in fields if each.required),
                together=getattr(plain, "wrong_together", lambda _: ()),
                nullable=nullable,
            )
        case inspect.ListType(min_length=length_min, max_length=length_max):
            return _Many(
                item=shape_of(*get_args(plain), strict=strict),
                length_min=length_min or 0,
                length_max=length_max,
                must=f"must be a list of {_range(length_min, length_max)}items",
                nullable=nullable,
            )
    rule = next((mark for mark in marks if isinstance(mark, Rule)), None)
    words = next((mark.must for mark in marks if isinstance(mark, Words)), None)
    return _Single(kind=kind, must=words or words_for(about, plain), rule=rule, strict=strict)


def _unwrapped(kind: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """The type without its marks (`Annotated`) and without null, the marks, and if null will do."""
    marks: tuple[Any, ...] = ()
    nullable = False
    while True:
        if get_origin(kind) is Annotated:
            kind, *more = get_args(kind)
            marks = (*marks, *more)
        elif get_origin(kind) in (Union, UnionType):
            kinds = [each for each in get_args(kind) if each is not msgspec.UnsetType]
            nullable = nullable or NoneType in kinds
            [kind] = [each for each in kinds if each is not NoneType]
        else:
            return kind, marks, nullable


_WHOLE = "must be a whole number"


def words_for(about: inspect.Type, kind: Any) -> str:
    """What a value of this type must be."""
    match about:
        case inspect.IntType(ge=least, le=most):
            if least is None and most is None:
                return _WHOLE
            return f"{_WHOLE} {_bounds(least, most)}"
        case inspect.StrType(min_length=least, max_length=most):
            lengths = _range(least, most)
            return f"must be a text of {lengths}characters" if lengths else "must be a text"
        case inspect.BoolType():
            return "must be true or false"
        case inspect.EnumType(cls=cls):
            return f"must be one of: {', '.join(str(member.value) for member in cls)}"
        case inspect.LiteralType():
            # In the order of the code; msgspec sorts them.
            return f"must be one of: {', '.join(map(str, get_args(kind)))}"
        case inspect.UUIDType():
            return "must be a UUID such as 6f1c2a9e-5b0d-4c7e-9a41-3d2f8e7b6c50"
        case inspect.DateTimeType():
            return "must be a time such as 2026-01-31T12:00:00Z"
    raise NotImplementedError(f"No words for {about}.")


def _bounds(least: float | None, most: float | None) -> str:
    if least is None:
        return f"of at most {most:,}"
    return f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"


def _range(least: int | None, most: int | None) -> str:
    """How many, with a space behind; nothing if any number will do."""
    if most is None:
        return f"at least {least:,} " if least else ""
    if not least:
        return f"at most {most:,} "
    return f"{most:,} " if least == most else f"{least:,} to {most:,} "


def wrong_fields(
    shape: Shape, value: object, currency: str, errors_max: int = ERRORS_MAX
) -> list[tuple[str, str]]:
    """All that is wrong with a body, as far as it is worth telling."""
    return list(islice(shape.wrong(value, "", currency), errors_max))


class _Anything:
    def wrong(self, value: Any, field: str, currency: str) -> Wrong:
        yield from ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowShapes:
    """A body that has `rows`, in two parts, so that each row can be judged by itself."""

    kind: Any
    """Of a row."""
    row: Shape
    around: Shape
    """All of the body, but that rows may be anything."""


def row_shapes(kind: Any) -> RowShapes:
    body = shape_of(kind)
    assert isinstance(body, _Object)
    rows = body.fields["rows"]
    assert isinstance(rows, _Many)
    anything = replace(rows, item=_Anything())
    [plain] = [each.type for each in msgspec.structs.fields(kind) if each.encode_name == "rows"]
    [row_kind] = get_args(_unwrapped(plain)[0])
    return RowShapes(
        kind=row_kind,
        row=rows.item,
        around=replace(body, fields={**body.fields, "rows": anything}),
    )


# --- parameters ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    name: str
    """As the client knows it."""
    source: ParamType
    shape: Shape

    def given(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Any:
        """As Litestar takes it: of several in a query the last counts, but for lists."""
        match self.source:
            case ParamType.PATH:
                return connection.path_params.get(self.name)
            case ParamType.HEADER:
                return connection.headers.get(self.name)
        several = connection.query_params.getall(self.name, [])
        if isinstance(self.shape, _Many):
            return several or None
        return several[-1] if several else None


def wrong_parameters(
    connection: ASGIConnection[Any, Any, Any, Any], currency: str
) -> list[tuple[str, str]]:
    """All that is wrong in the path, the query and the headers.

    Litestar asks one dependency after the other, and handlers read some by themselves, so that an
    error of either may be the first of several.
    """
    return [
        problem
        for parameter in _parameters(connection.scope["route_handler"])
        if (given := parameter.given(connection)) is not None
        for problem in parameter.shape.wrong(given, parameter.name, currency)
    ]


@lru_cache(256)
def _parameters(handler: BaseRouteHandler) -> tuple[_Parameter, ...]:
    return tuple(_parameters_of(handler, handler.parsed_fn_signature, handler.signature_model))


def _parameters_of(
    handler: BaseRouteHandler, signature: ParsedSignature, model: Any
) -> Iterator[_Parameter]:
    """Those that the handler has itself, and those of the dependencies that it asks for."""
    for name, field in signature.parameters.items():
        definition = field.kwarg_definition
        if provider := handler.resolve_dependencies().get(name):
            yield from _parameters_of(
                handler, provider.parsed_fn_signature, provider.signature_model
            )
        elif isinstance(definition, ParameterKwarg):
            marks = tuple(mark for mark in field.metadata if isinstance(mark, Rule | Words))
            kind = model.__annotations__[name]
            yield _Parameter(
                name=definition.name or name,
                source=definition.param_type,
                shape=shape_of(Annotated[kind, *marks] if marks else kind, strict=False),
            )
