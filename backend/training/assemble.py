"""From a filled-in form to the TrainSpec that a trainer reads, with every complaint at the field that it is about."""

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from backend.core.errors import field_errors
from backend.core.names import file_name
from backend.training.form import KEPT, SWITCHES, fields, flat_spec, preset_values
from backend.training.schemas import RunIn
from dexvla.errors import UserError
from dexvla.spec import PRESETS, TrainSpec, with_preset

_NOT_CHOSEN = "not chosen yet"  # stands in a spec that has errors anyway, so that the other fields are looked at too


@dataclass(frozen=True, kw_only=True)
class Places:
    """Paths that the server fills in. None: not chosen, or not there."""

    data: tuple[tuple[str, float], ...]
    init_from: str | None
    pretrained_expert: str | None
    output_dir: str
    picture_cache: str
    kept_conditions: str


@dataclass(kw_only=True)
class Assembled:
    """spec is None where the fields themselves are wrong."""

    spec: TrainSpec | None = None
    errors: dict[str, str] = field(default_factory=dict)


def assemble(body: RunIn, places: Places) -> Assembled:
    """Put the fields over the preset, as `dexvla train` does, and check them."""
    result = Assembled()
    nested = _nested(body, result.errors, places)
    if body.preset is not None and body.preset not in PRESETS:
        result.errors["preset"] = f"there is no preset {body.preset}; known: {', '.join(PRESETS)}"
        return result
    given = {
        **nested,
        "name": file_name(body.name),
        "preset": body.preset,
        "stage": body.stage,
        "data": [{"path": path, "weight": weight} for path, weight in places.data],
        "init_from": places.init_from or _NOT_CHOSEN,
        "output_dir": places.output_dir,
    }
    if places.pretrained_expert is not None:
        given["pretrained_expert"] = places.pretrained_expert
    try:
        spec = with_preset(given)
    except ValidationError as error:
        result.errors = _by_field(error) | result.errors
    except UserError as error:
        result.errors[""] = str(error)
    else:
        result.spec = spec
    return result


def differences(spec: TrainSpec) -> dict[str, list[Any]]:
    """Path -> [the preset's value, the run's] where they differ; without a preset against the spec's defaults."""
    usual = {path: one.default for path, one in fields().items()} | preset_values(spec.preset, spec.stage)
    used = flat_spec(spec)
    return {
        path: [usual[path], value]
        for path, value in used.items()
        if usual[path] != value and used.get(fields()[path].requires or "", True)
    }


def _nested(body: RunIn, errors: dict[str, str], places: Places) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in body.fields.items():
        known = fields().get(path)
        if known is None:
            errors[path] = "there is no such field that may be chosen"
        elif body.stage not in known.stages:
            errors[path] = f"belongs to stage {known.stages[0]}; stage {body.stage} takes it from its checkpoint"
        elif path in SWITCHES:
            if not (value is None or isinstance(value, bool)):
                errors[path] = f"is on (true) or off (false), not {value!r}"
        elif "." not in path:
            nested[path] = value
        else:
            group, _, name = path.partition(".")
            whole_is_optional = TrainSpec.model_fields[group].default is None and group not in SWITCHES
            if value is not None or not whole_is_optional:
                nested.setdefault(group, {})[name] = value
    _switches(body, nested, errors, places)
    return nested


def _switches(body: RunIn, nested: dict[str, Any], errors: dict[str, str], places: Places) -> None:
    for name in KEPT:
        if body.fields.get(name):
            nested[name] = getattr(places, name)
    usually = bool(preset_values(body.preset, body.stage).get("lora"))
    if "lora" in body.fields:
        # values of a group that is switched off are kept by a form, and count for nothing
        nested["lora"] = nested.get("lora", {}) if body.fields["lora"] else None
    elif "lora" in nested and not usually:
        for name in nested.pop("lora"):
            errors[f"lora.{name}"] = "LoRA is off; switch it on, or leave this out"


def _by_field(error: ValidationError) -> dict[str, str]:
    """Complaints by path of the form; one about several fields stands at each that it names."""
    found: dict[str, str] = {}
    for place, message in field_errors(error).items():
        parts = place.split(".") if place else []
        path = next((p for n in range(len(parts), 0, -1) if (p := ".".join(parts[:n])) in fields()), None)
        if path is not None:
            found.setdefault(path, message)
            continue
        named = _named(message) if not place else []
        for one in named or [place]:
            found.setdefault(one, message)
    return found


def _named(message: str) -> list[str]:
    words = set(re.findall(r"[a-z_]+", message.lower()))
    return [path for path in fields() if path in words]
