"""Bodies: how a field that is given twice is noticed without looking at names."""

from typing import Literal

import msgspec
import pytest

from shop.entrypoints.http.api.bodies import each_field_once
from shop.entrypoints.http.api.orders import NewOrder


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: int
    gift: bool = False


class Body(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What an order's body may become: with texts, options and lists."""

    items: list[Line]
    code: str = ""
    way: Literal["post", "van"] | None = None
    tags: list[str] = []


def looked_at(body: str) -> bool:
    given = body.encode()
    return each_field_once(given, msgspec.json.decode(given, type=Body))


@pytest.mark.parametrize(
    "body",
    [
        '{"items":[]}',
        '{ "items" : [ {"gift": true, "id": 1}, {"id": 2} ] , "code":"ü: {},[]" }',
        '{"code":"A","items":[{"id":1}],"way":"van","tags":["a","a",""]}',
    ],
)
def test_what_is_said_once_is_seen_so(body: str) -> None:
    assert looked_at(body)


@pytest.mark.parametrize(
    "body",
    [
        '{"items":[],"items":[]}',
        '{"items":[{"id":1,"id":1}]}',
        '{"items":[{"id":1}],"items":[{"id":1},{"id":2}]}',
        '{"items":[{"id":1},{"id":2}],"items":[{"id":1}]}',
        '{"items":[],"code":"A","code":"A"}',
        '{"items":[],"code":"A","code":""}',
        '{"items":[],"code":"","code":"A"}',
        '{"items":[],"way":"post","way":null}',
        '{"items":[],"way":null,"way":null}',
        '{"items":[],"tags":["a"],"tags":[]}',
        '{"items":[{"id":1,"gift":false,"gift":true}]}',
        '{"items":[{"id":1,"gift":true,"gift":false}]}',
        '{"items":[],"code":"A","c\\u006fde":"B"}',
    ],
)
def test_what_is_said_twice_is_never_missed(body: str) -> None:
    assert not looked_at(body)


@pytest.mark.parametrize("body", ['{"items":[],"code":""}', '{"items":[],"code":"a\\nb"}'])
def test_it_may_take_a_body_for_one_that_says_something_twice(body: str) -> None:
    assert not looked_at(body)


def test_the_body_of_an_order_is_one_that_can_be_looked_at() -> None:
    """A field of another kind fails here; see `each_field_once` for what it must be like."""
    written_as_given = (
        msgspec.inspect.BoolType,
        msgspec.inspect.IntType,
        msgspec.inspect.StrType,
        msgspec.inspect.LiteralType,
        msgspec.inspect.NoneType,
    )
    pending = [msgspec.inspect.type_info(NewOrder)]
    while pending:
        kind = pending.pop()
        match kind:
            case msgspec.inspect.StructType(cls=cls, fields=fields, forbid_unknown_fields=strict):
                assert cls.__struct_config__.omit_defaults, cls
                assert strict, cls
                for field in fields:
                    assert field.default_factory in (msgspec.NODEFAULT, list), field
                    pending.append(field.type)
            case msgspec.inspect.Metadata(type=described):
                pending.append(described)
            case msgspec.inspect.ListType(item_type=item_type):
                pending.append(item_type)
            case msgspec.inspect.UnionType(types=types):
                pending.extend(types)
            case _:
                assert isinstance(kind, written_as_given), kind
