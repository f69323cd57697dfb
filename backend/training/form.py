"""The form of a run, generated from TrainSpec: every field that a person may choose, with bounds, unit and stages.

Labels, groups, units and which fields are shown first stand on the spec's fields (dexvla.spec.fields). What the server
fills in itself (data, models, folders) is left out. Three fields are not as in the spec: `lora` is a switch, and
`lora.*` count only while it is on; `picture_cache` and `kept_conditions` are switches, the folders are the server's.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic.fields import FieldInfo

from backend.training.schemas import FieldOut, PresetOut, TrainForm
from dexvla.spec import EXPERT_SIZES, PRESETS, Group, TrainSpec
from dexvla.spec.fields import extra_of, label_of, plain_type

STAGES = (2, 3)
KEPT = ("picture_cache", "kept_conditions")  # folders of a spec that the server chooses
SWITCHES = ("lora", *KEPT)
_SERVER_OWNED = {"name", "preset", "stage", "data", "init_from", "pretrained_expert", "output_dir", "text_data"}
_STAGE_1 = {"image_encoder", "text_encoder", "train_text_encoder"}
# Stage 3 takes these from the checkpoint that it starts from.
_STAGE_2 = {"expert", "chunk_size", "action_space", "fusion", "initialisation", "pretrained_embodiment"}

_STAGE_NOTE = re.compile(r"^Stages? [0-9](?: and [0-9])*: ")
_KEEP = {
    "picture_cache": "Keep decoded, resized images on disk, shared by runs: the same pixels, loaded several times "
    "faster; three cameras of 240x320 take 0.7 MB a step",
    "kept_conditions": "Keep what a frozen backbone makes of each step on disk, shared by runs: a step then costs what "
    "projections, FiLM and expert cost. Needs a frozen backbone and no augmentation",
}
_PRESETS = {
    "tiny": (
        "Tiny",
        "A few minutes on two CPU cores, with a tiny base model: to try everything out. It learns little.",
    ),
    "small": (
        "Small",
        "About an hour on two CPU cores: one camera at 112 x 112, four noise samples per training sample, with a small "
        "base model whose patch embedding was made from images (dexvla init-model --preset small --whiten).",
    ),
    "dexvla-2b-scaledp-h": (
        "DexVLA 2B, ScaleDP-H",
        "The paper's figures with its 1B expert: Qwen2-VL-2B, global batch 96 as 8 GPUs x 12, bfloat16.",
    ),
    "dexvla-2b-scaledp-l": (
        "DexVLA 2B, ScaleDP-L",
        "The same with the 0.4B expert, the one whose pretrained weights were released first.",
    ),
    "dexvla-2b-scaledp-h-scripts": (
        "DexVLA 2B, ScaleDP-H, as the released scripts",
        "Where scripts and paper differ, the scripts: vision tower trained, betas 0.9 and 0.98, epsilon 1e-7.",
    ),
    "dexvla-2b-scaledp-l-scripts": (
        "DexVLA 2B, ScaleDP-L, as the released scripts",
        "Where scripts and paper differ, the scripts: vision tower trained, betas 0.9 and 0.98, epsilon 1e-7.",
    ),
    "divla": ("DiVLA", "U-Net expert over 16 steps, LoRA on both towers, with reasoning (arXiv 2412.03293)."),
    "tinyvla": ("TinyVLA", "U-Net expert over 16 steps, LoRA on both towers, no reasoning (arXiv 2409.12514)."),
}


@cache
def fields() -> dict[str, FieldOut]:
    """By dotted path, in the order in which a page shows them."""
    found = {field.path: field for field in _walk()}
    groups = [group.value for group in Group]
    return {
        path: found[path] for path in sorted(found, key=lambda path: (groups.index(found[path].group), _place(path)))
    }


@cache
def form() -> TrainForm:
    known = list(_PRESETS) + [name for name in PRESETS if name not in _PRESETS]
    presets = [
        PresetOut(
            name=name,
            title=_PRESETS.get(name, (name, ""))[0],
            description=_PRESETS.get(name, (name, ""))[1],
            values={stage: preset_values(name, stage) for stage in STAGES},
        )
        for name in known
        if name in PRESETS
    ]
    return TrainForm(fields=list(fields().values()), groups=list(Group), presets=presets, stages=list(STAGES))


def preset_values(name: str | None, stage: int) -> dict[str, Any]:
    """Dotted path -> value of everything that the preset fills in and a person may change."""
    if name is None or name not in PRESETS:
        return {}
    return {path: value for path, value in flat(PRESETS[name].get(stage, {})).items() if path in fields()}


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested fields of a spec -> dotted paths of the form, switches included; tuples become lists."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in SWITCHES:
            found[name] = bool(value)
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": _plain(item) for inner, item in value.items()}
        elif name not in SWITCHES:
            found[name] = _plain(value)
    return found


def flat_spec(spec: TrainSpec) -> dict[str, Any]:
    """Every field of the form with the value that a run uses; groups that are off have their defaults."""
    given = flat(spec.model_dump(mode="json"))
    return {
        path: given.get(path, field.default if "." in path else None)
        for path, field in fields().items()
        if spec.stage in field.stages
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _walk() -> Iterator[FieldOut]:
    schema = TrainSpec.model_json_schema()
    definitions = schema["$defs"]
    for name, property_ in schema["properties"].items():
        if name in _SERVER_OWNED | _STAGE_1:
            continue
        if name in KEPT:
            yield _field(name, {"type": "boolean", "default": False, "description": _KEEP[name]}, definitions)
            continue
        kind, optional = _resolved(property_, definitions)
        if kind.get("type") != "object":
            yield _field(name, property_, definitions)
            continue
        if name in SWITCHES:
            yield _field(name, {**property_, "anyOf": [{"type": "boolean"}], "default": False}, definitions)
        for inner, inner_property in kind["properties"].items():
            whole = {**inner_property, "default": None} if optional and name not in SWITCHES else inner_property
            yield _field(f"{name}.{inner}", whole, definitions, optional=optional and name not in SWITCHES)


def _field(
    path: str, property_: Mapping[str, Any], definitions: Mapping[str, Any], *, optional: bool = False
) -> FieldOut:
    kind, nullable = _resolved(property_, definitions)
    top = path.partition(".")[0]
    own = str(property_.get("description", ""))
    choices = kind.get("enum")
    type_ = kind["type"]
    if type_ == "array":
        item = _resolved(kind.get("items") or kind["prefixItems"][0], definitions)[0]
        choices = item.get("enum")
        type_ = {"string": "choices", "integer": "integers", "number": "numbers"}[item["type"]]
        bounds: Mapping[str, Any] = item
    else:
        type_ = "choice" if choices else "text" if type_ == "string" else type_
        bounds = kind
    if path == "expert":
        type_, choices = "choice", list(EXPERT_SIZES)
    parts = [_meaning(property_, definitions) if type_ == "choice" else "", _STAGE_NOTE.sub("", own)]
    shown = _shown(path)
    stages = [2] if top in _STAGE_2 else list(STAGES)
    return FieldOut(
        path=path,
        label=label_of(path.rpartition(".")[2], _info(path)),
        kind=type_,
        unit=shown.get("unit"),
        description=". ".join(part[0].upper() + part[1:].rstrip(".") for part in parts if part),
        group=shown["group"],
        optional=optional or nullable,
        choices=choices,
        minimum=bounds.get("minimum"),
        maximum=bounds.get("maximum"),
        exclusive_minimum=bounds.get("exclusiveMinimum"),
        exclusive_maximum=bounds.get("exclusiveMaximum"),
        default=_plain(property_.get("default")),
        stages=stages,
        requires=top if "." in path and top in SWITCHES else None,
        advanced="place" not in shown,
    )


def _info(path: str) -> FieldInfo:
    """The spec's field."""
    top, _, inner = path.partition(".")
    info = TrainSpec.model_fields[top]
    return plain_type(info)[0].model_fields[inner] if inner else info


def _shown(path: str) -> dict[str, Any]:
    """Group, unit and place of a field; the group of one that has none is that of the fields around it."""
    return {"group": extra_of(_info(path.partition(".")[0]))["group"], **extra_of(_info(path))}


def _place(path: str) -> int:
    place = _shown(path).get("place", 0)
    assert isinstance(place, int)
    return place


def _meaning(property_: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What the docstring of an enum says about its values, in one line."""
    for part in (property_, *property_.get("anyOf", ())):
        if "$ref" in part:
            text = str(definitions[part["$ref"].rpartition("/")[2]].get("description", ""))
            return " ".join(text.split())
    return ""


def _resolved(property_: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema behind references and `| None`; whether None is allowed."""
    nullable = False
    while True:
        if "$ref" in property_:
            property_ = definitions[property_["$ref"].rpartition("/")[2]]
        elif "anyOf" in property_:
            nullable = nullable or any(part.get("type") == "null" for part in property_["anyOf"])
            property_ = next(part for part in property_["anyOf"] if part.get("type") != "null")
        else:
            return property_, nullable
