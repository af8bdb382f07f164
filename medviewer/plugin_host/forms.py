"""From the dataclass of a task's parameters to a form, and back from plain values to the dataclass.

A field is a ``float``, ``int``, ``bool``, ``str`` or ``Literal`` of texts, with a default. ``Annotated`` adds
`Range`, `Unit`, `Choice`, `SegmentChoice` and `Doc`. A field with ``repr=False`` is not for people and not part of the
form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from medviewer.core.errors import InputError, PluginError
from medviewer.core.params import Choice, Doc, Range, SegmentChoice, TaskChoice, Unit

ParamKind = Literal["float", "int", "bool", "choice", "text", "segment"]
ParamValue = float | int | bool | str

_KINDS: dict[object, ParamKind] = {float: "float", int: "int", bool: "bool", str: "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """One field of a form.

    Attributes
    ----------
    name : str
        Of the field.
    kind : "float", "int", "bool", "choice", "text" or "segment"
    default : float, int, bool or str
    minimum, maximum : float or None
        Smallest and largest value; None: no bound.
    step : float or None
        Step of the arrows.
    unit : str
        Shown behind the value.
    options : tuple of str
        Allowed values of a choice.
    doc : str
        One sentence of help.
    tasks : str
        Kind of the tasks whose ids are the options; empty for a field that is no task.
    titles : tuple of str
        What people read for each option; empty where the options speak for themselves.
    """

    name: str
    kind: ParamKind
    default: ParamValue
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    unit: str = ""
    options: tuple[str, ...] = ()
    doc: str = ""
    tasks: str = ""
    titles: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name for people."""
        return self.name.replace("_", " ").capitalize()

    def convert(self, value: object) -> ParamValue:
        """Return a value as the field's type.

        Raises
        ------
        InputError
            ``E_PARAMETER``: it has another type, is out of range or not an option.
        """
        if self.kind == "bool" and isinstance(value, bool):
            return value
        if self.kind in ("text", "choice") and isinstance(value, str):
            if self.kind == "choice" and value not in self.options:
                raise self._refuse(f"must be one of {', '.join(self.options)}", value)
            return value
        if self.kind in ("float", "int", "segment") and isinstance(value, int | float) and not isinstance(value, bool):
            return self._number(value)
        rules = {
            "bool": "must be true or false",
            "float": "must be a number",
            "int": "must be a whole number",
            "segment": "must be a label value",
        }
        raise self._refuse(rules.get(self.kind, "must be a text"), value)

    def _number(self, value: float) -> float | int:
        whole = self.kind != "float"
        if not math.isfinite(value) or (whole and value != int(value)):
            raise self._refuse("must be a whole number" if whole else "must be a finite number", value)
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if not low <= value <= high:
            raise self._refuse(f"must be between {low:g} and {high:g}{' ' * bool(self.unit)}{self.unit}", value)
        return int(value) if whole else float(value)

    def _refuse(self, rule: str, value: object) -> InputError:
        return InputError(f"The parameter {self.name} {rule}, not {value!r}.", code="E_PARAMETER")


def describe_params(params: type[Any]) -> tuple[ParamSpec, ...]:
    """Describe the fields of a task's parameters.

    Parameters
    ----------
    params : type
        A dataclass whose fields all have defaults.

    Raises
    ------
    PluginError
        ``E_PARAMETERS``: a field has a type that no form can show, or no default.
    """
    if not is_dataclass(params):
        raise PluginError(f"The parameters {params.__name__} are not a dataclass.", code="E_PARAMETERS")
    hints = get_type_hints(params, include_extras=True)
    return tuple(_describe(item, hints[item.name]) for item in fields(params) if item.init and item.repr)


def _describe(item: Field[Any], hint: object) -> ParamSpec:
    base, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    span = next((note for note in notes if isinstance(note, Range)), None)
    choice = next((note for note in notes if isinstance(note, Choice)), None)
    options = get_args(base) if get_origin(base) is Literal else choice.options if choice else ()
    kind = "choice" if options else _KINDS.get(base)
    if kind == "int" and any(isinstance(note, SegmentChoice) for note in notes):
        kind = "segment"
    default = item.default if item.default_factory is MISSING else item.default_factory()
    if kind is None or not all(isinstance(option, str) for option in options):
        raise PluginError(f"The parameter {item.name} has a type that no form can show.", code="E_PARAMETERS")
    if default is MISSING:
        raise PluginError(f"The parameter {item.name} has no default.", code="E_PARAMETERS")
    spec = ParamSpec(
        name=item.name,
        kind=kind,
        default=default,
        minimum=span.minimum if span else None,
        maximum=span.maximum if span else None,
        step=span.step if span else None,
        unit=next((note.text for note in notes if isinstance(note, Unit)), ""),
        options=tuple(options),
        doc=next((note.text for note in notes if isinstance(note, Doc)), ""),
        tasks=next((note.kind for note in notes if isinstance(note, TaskChoice)), ""),
    )
    try:
        spec.convert(default)
    except InputError as error:
        raise PluginError(f"The default does not fit: {error.text}", code="E_PARAMETERS") from error
    return spec


def params_from_dict(params: type[Any], values: Mapping[str, object]) -> object:
    """Build parameters from plain values; fields that are not named keep their defaults.

    Raises
    ------
    InputError
        ``E_PARAMETER``: an unknown name, or a value that does not fit.
    """
    specs = {spec.name: spec for spec in describe_params(params)}
    if unknown := sorted(set(values) - set(specs)):
        known = ", ".join(specs) or "none"
        raise InputError(
            f"There is no parameter {unknown[0]!r}.", hint=f"Known parameters: {known}.", code="E_PARAMETER"
        )
    return params(**{name: specs[name].convert(value) for name, value in values.items()})


def params_to_dict(params: object) -> dict[str, ParamValue]:
    """Return JSON-ready values of all fields."""
    return {spec.name: getattr(params, spec.name) for spec in describe_params(type(params))}
