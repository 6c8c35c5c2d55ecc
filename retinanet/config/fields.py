"""Types of the keys of params.yaml."""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.fields import FieldInfo


def _number_from_text(value: object) -> object:
    # PyYAML follows YAML 1.1, which reads 1e-4, without a dot, as text.
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def _auto_or_at_least(least: int) -> Callable[[object, ValidatorFunctionWrapHandler], object]:
    def check(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        """One error instead of one for each choice."""
        try:
            return handler(value)
        except ValidationError as error:
            raise ValueError(f"is {value!r}; it must be auto, or an integer of at least {least}") from error

    return check


def _with_a_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if pattern and not groups:
        raise ValueError(f"{pattern!r} has no (group) for the part of the path that counts")
    return pattern


Real = Annotated[float, BeforeValidator(_number_from_text)]
Positive = Annotated[Real, Field(gt=0)]
NotNegative = Annotated[Real, Field(ge=0)]
Share = Annotated[Real, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
AutoOrCount = Annotated[Literal["auto"] | Count, WrapValidator(_auto_or_at_least(1))]
AutoOrCountOrZero = Annotated[Literal["auto"] | CountOrZero, WrapValidator(_auto_or_at_least(0))]
Orientation = Literal["upright", "any"]
Pattern = Annotated[str, AfterValidator(_with_a_group)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


class Section(BaseModel):
    """A section of params.yaml. The docstring below a key is its description in docs/params.md."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def is_section(annotation: Any) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def walk_keys(section: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The dotted name and the field of every key that holds a value, in order; sections are entered."""
    for name, field in section.model_fields.items():
        if is_section(field.annotation):
            yield from walk_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field
