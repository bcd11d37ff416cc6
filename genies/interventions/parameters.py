"""Parameters of interventions, each written once: type, range and default in a signature, its meaning in the docstring.

The constructor of an intervention takes its parameters by keyword. Their annotations are checked before it runs; the
JSON schema of ``intervention_parameters`` and its documentation are made of annotations and of the class's docstring.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from genies.errors import ConfigError
from genies.options import Whole


@dataclass(frozen=True)
class Real:
    """Marks finite numbers above 0, or from 0 on, and below a bound where there is one."""

    or_zero: bool = False
    below: float = math.inf

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value; None if nothing is."""
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and not self.or_zero):
            return f"is not a {'non-negative' if self.or_zero else 'positive'} number"
        return None if value < self.below else f"is not below {self.below:g}"

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        bounds = {"minimum": 0} if self.or_zero else {"exclusiveMinimum": 0}
        return {"type": "number", **bounds, **({"exclusiveMaximum": self.below} if self.below < math.inf else {})}


PositiveFloat = Annotated[float, Real()]
NonNegativeFloat = Annotated[float, Real(or_zero=True)]
Share = Annotated[float, Real(or_zero=True, below=1)]


class Parameter(NamedTuple):
    """A parameter.

    Attributes:
        name: its name.
        annotation: type and range.
        default: ``inspect.Parameter.empty`` where there is none.
        kind: the class that declares it, whose docstring says what it means.
    """

    name: str
    annotation: Any
    default: Any
    kind: type

    @property
    def meaning(self) -> str:
        """What the docstring says of it, as Markdown; empty where that says nothing."""
        from docstring_parser import parse

        told = {one.arg_name: one.description or "" for one in parse(inspect.getdoc(self.kind) or "").params}
        return " ".join(told.get(self.name, "").split()).replace("``", "`")


def own_parameters(kind: type) -> list[Parameter]:
    """Parameters that a class's own constructor names; none where it has none of its own."""
    constructor = vars(kind).get("__init__")
    if constructor is None:
        return []
    types = _types(constructor)
    named = (p for p in inspect.signature(constructor).parameters.values() if p.kind is not p.VAR_KEYWORD)
    return [Parameter(p.name, types.get(p.name, p.annotation), p.default, kind) for p in named if p.name != "self"]


def checked(constructor: Callable[..., None]) -> Callable[..., None]:
    """The constructor, which refuses values that its annotations do not allow.

    Raises:
        ConfigError: one line that names the parameter.
    """

    @functools.wraps(constructor)
    def construct(self: Any, **given: Any) -> None:
        types = _types(constructor)
        for name, value in given.items():
            if name in types and (problem := problem_of(types[name], value)):
                raise ConfigError(f"parameter {name}: {value!r} {problem}")
        constructor(self, **given)

    return construct


class Parameterized:
    """A class that is made by keyword, of parameters that its constructors declare and that stay as attributes."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Have the parameters of a subclass's own constructor checked."""
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = checked(vars(cls)["__init__"])  # type: ignore[method-assign]  # to replace it is the point

    @classmethod
    def parameter_names(cls) -> list[str]:
        """Names that the constructor takes; ``**parameters`` adds those of the next class."""
        return sorted(cls.parameters())

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """What the constructor takes, by name, as the most special class declares it."""
        found: dict[str, Parameter] = {}
        for kind in cls.__mro__:
            if "__init__" not in vars(kind):
                continue
            found = {parameter.name: parameter for parameter in own_parameters(kind)} | found
            signature = inspect.signature(vars(kind)["__init__"]).parameters.values()
            if not any(p.kind is p.VAR_KEYWORD for p in signature):
                break
        return found

    def get_params(self) -> dict[str, Any]:
        """Every parameter and its value, in the manner of scikit-learn."""
        return {name: getattr(self, name) for name in self.parameter_names()}


@functools.cache
def _types(constructor: Callable[..., None]) -> dict[str, Any]:
    """Annotations by name; none where one of them cannot be resolved, as it may be in files of the user's own."""
    try:
        return get_type_hints(constructor, include_extras=True)
    except (NameError, TypeError):
        return {}


def problem_of(annotation: Any, value: Any) -> str | None:
    """What is wrong with a value, by an annotation; None if nothing is, or nothing is known."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        problems = [problem_of(one, value) for one in arguments if one is not NoneType]
        return None if None in problems else problems[0]
    if origin is Literal:
        return None if value in arguments else f"is unknown; choose one of {', '.join(map(str, arguments))}"
    if origin is Annotated:
        return next((problem for mark in arguments[1:] if (problem := _problem(mark, value))), None)
    return None


def _problem(mark: Any, value: Any) -> str | None:
    if isinstance(mark, Real):
        return mark.problem(value)
    if isinstance(mark, Whole):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and value >= mark.least else f"is not an integer of at least {mark.least}"
    return None
