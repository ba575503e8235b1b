"""Values that are made by the thousand: one for each order, line, movement, row and product."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A dataclass that is frozen for type checkers, and so for who writes code.

    Python itself would look after it in each `__init__`, field by field, which takes twice as long
    as all else there (docs/decisions/0024).
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)
