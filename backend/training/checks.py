"""What can be told of a run at once, without loading a model: errors by field, and notes on what is odd."""

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from backend.base_models.detect import Found
from backend.core.names import file_name
from backend.studio.context import Studio
from backend.training import estimate, start
from backend.training.assemble import Places, assemble
from backend.training.schemas import RunIn, SourceIn
from backend.versions import contents as versions
from backend.versions.contents import Data
from dexvla.spec import EXPERT_SIZES, ScaleDPSpec, TrainSpec

_HUGE_STEPS = 50_000  # of data, for the preset tiny
_LARGE = 300_000_000  # parameters, for a CPU
_IMPORTANT_LABELS = "in the paper the success of shirt folding falls from 0.92 to 0.07 without substep reasonings"


@dataclass(kw_only=True)
class Looked:
    """spec: with its real paths; None while its fields are wrong. origin: what it starts from, to be kept."""

    spec: TrainSpec | None
    errors: dict[str, str]
    notes: list[str] = field(default_factory=list)
    origin: dict[str, object] = field(default_factory=dict)


def look(db: Session, studio: Studio, body: RunIn, *, output_dir: str) -> Looked:
    """Assemble the spec and check it against data, models and disk."""
    begin = start.find(db, studio, body)
    found = versions.read(db, studio, [source.version_id for source in body.sources])
    errors = dict(begin.errors)
    notes: list[str] = []
    data = _sources(body.sources, found, errors)
    places = Places(
        data=tuple((str(studio.settings.folder.manifest(source.version_id)), source.weight) for source in body.sources),
        init_from=None if begin.model is None else str(begin.model.path),
        pretrained_expert=None if begin.expert is None else str(begin.expert.path),
        output_dir=output_dir,
        picture_cache=str(studio.settings.folder.cache / "pictures"),
        kept_conditions=str(studio.settings.folder.cache / "conditions"),
    )
    assembled = assemble(body, places)
    errors = assembled.errors | errors
    spec = assembled.spec
    if spec is not None:
        _data_fits(spec, data, errors)
        if begin.expert is not None:
            errors |= start.expert_errors(spec, begin.expert)
        if spec.stage == 3 and begin.model is not None and data:
            _checkpoint_fits(spec, begin.model, data[0], errors, notes)
        _amounts(spec, data, errors, notes)
        if begin.model is not None:
            _sizes(spec, begin.model, studio, errors, notes)
    return Looked(spec=spec, errors=errors, notes=notes, origin=begin.origin)


def slug_folder(name: str) -> str:
    """Where the command line of a run writes: below the folder that it is given in."""
    return f"runs/{file_name(name)}"


def _sources(sources: list[SourceIn], found: dict[str, Data], errors: dict[str, str]) -> list[Data]:
    """The versions that can be read, in the order of the form."""
    data: list[Data] = []
    seen: dict[str, str] = {}
    for number, source in enumerate(sources):
        place, version = f"sources.{number}", found.get(source.version_id)
        if version is None:
            errors[place] = "there is no such dataset version; choose another"
        elif source.version_id in {one.version_id for one in data}:
            errors[place] = f"{version.name} is listed twice; list it once, with a higher weight if you like"
        elif version.manifest is None:
            errors[place] = f"{version.name}: its manifest is gone from the data folder; make a new version"
        elif missing := version.missing():
            errors[place] = (
                f"{version.name}: {len(missing)} of its episode files are gone, first {missing[0]}; restore them from "
                "a backup, or make a version without them"
            )
        else:
            data.append(version)
            twice = next((one.identity for one in version.episodes if one.identity in seen), None)
            if twice is not None:
                errors[place] = (
                    f"{version.name} and {seen[twice]} hold the same episode; choose versions without common episodes"
                )
            seen |= {one.identity: version.name for one in version.episodes}
    return data


def _data_fits(spec: TrainSpec, data: list[Data], errors: dict[str, str]) -> None:
    """Dimensions, cameras and rendering of all versions agree, as the trainer demands."""
    if spec.cameras is not None:
        for version in data:
            absent = [name for name in spec.cameras if name not in version.cameras]
            if absent:
                errors["cameras"] = (
                    f"{version.name} has no {', '.join(absent)}; its cameras: {', '.join(version.cameras)}"
                )
    for number, version in enumerate(data[1:], start=1):
        first = data[0]
        pairs: list[tuple[str, object, object]] = [
            ("action dimensions", version.action_dim, first.action_dim),
            ("state dimensions", version.state_dim, first.state_dim),
            ("render profile", version.render_profile, first.render_profile),
        ]
        if spec.cameras is None:
            pairs.append(("cameras", ", ".join(version.cameras), ", ".join(first.cameras)))
        for name, found, expected in pairs:
            if found != expected:
                hint = "; or choose cameras that both have" if name == "cameras" else ""
                errors.setdefault(
                    f"sources.{number}",
                    f"{version.name} has {name} {found}, {first.name} has {expected}; "
                    f"the data of a run must agree{hint}",
                )
    if spec.action_space is not None and data:
        beyond = [index for index in spec.action_space.absolute if index >= data[0].action_dim]
        if beyond:
            errors["action_space.absolute"] = f"the data has {data[0].action_dim} action dimensions, counted from 0"
        if spec.action_space.kind != "absolute" and data[0].action_dim != data[0].state_dim:
            errors["action_space.kind"] = (
                f"{spec.action_space.kind} needs states like actions; the data has {data[0].action_dim} action and "
                f"{data[0].state_dim} state dimensions"
            )


def _checkpoint_fits(spec: TrainSpec, model: Found, data: Data, errors: dict[str, str], notes: list[str]) -> None:
    trained = start.trained_policy(model)
    if trained is None:
        return
    for name, found, expected in (
        ("action", data.action_dim, trained.action_dim),
        ("state", data.state_dim, trained.state_dim),
    ):
        if found != expected:
            errors.setdefault(
                "sources.0", f"{data.name} has {found} {name} dimensions, the checkpoint was trained with {expected}"
            )
    known = {camera.name for camera in trained.cameras}
    if spec.cameras is None and known and known != set(data.cameras):
        errors.setdefault(
            "cameras",
            f"the checkpoint was trained with {', '.join(sorted(known))}, the data has {', '.join(data.cameras)}; "
            "choose the cameras to train on others",
        )
    if trained.render_profile != data.render_profile:
        notes.append(
            f"the checkpoint saw images of the render profile {trained.render_profile or 'none (real)'}, "
            f"this data has {data.render_profile or 'none (real)'}"
        )
    if trained.fps is not None and data.fps is not None and trained.fps != data.fps:
        notes.append(f"the checkpoint was trained at {trained.fps:g} Hz, this data has {data.fps:g}")


def _amounts(spec: TrainSpec, data: list[Data], errors: dict[str, str], notes: list[str]) -> None:
    """Labels, held-out episodes, passes over the data."""
    steps = sum(version.steps for version in data)
    if not steps:
        return
    labelled = sum(version.labelled for version in data)
    if not spec.use_reasoning:
        notes.append("substep reasoning is switched off: the policy learns an empty reasoning")
    elif labelled < steps:
        notes.append(
            f"{labelled / steps:.0%} of the steps have a substep label; the others train an empty reasoning "
            f"({_IMPORTANT_LABELS})"
        )
    held = 0
    for version in data:
        count = round(spec.validation_fraction * len(version.episodes))
        held += count
        if count >= len(version.episodes):
            errors["validation_fraction"] = (
                f"holds out all {len(version.episodes)} episodes of {version.name}; nothing is left to train on"
            )
        if version.fps and data[0].fps and version.fps != data[0].fps:
            notes.append(f"{version.name} has {version.fps:g} Hz, {data[0].name} {data[0].fps:g}")
    if spec.validation_fraction and not held:
        episodes = sum(len(version.episodes) for version in data)
        notes.append(
            f"{spec.validation_fraction:.0%} of {episodes} episodes is less than one in each version: none is held out "
            "and there will be no validation loss"
        )
    seen = spec.steps * spec.batch_size * spec.grad_accumulation / steps
    if seen < 1:
        notes.append(f"the run sees only {seen:.0%} of the {steps:,} steps of data (for one GPU)")
    if spec.preset == "tiny" and steps > _HUGE_STEPS:
        notes.append(f"the preset tiny is for trying things out; {steps:,} steps of data deserve a preset of real size")
    shortest = min(episode.steps for version in data for episode in version.episodes)
    if spec.chunk_size is not None and spec.chunk_size > shortest:
        notes.append(
            f"a chunk is {spec.chunk_size} steps long, the shortest episode {shortest}: its chunks are partly padding"
        )
    if spec.save_every > spec.steps:
        notes.append("the only checkpoint will be the last step's; a run that breaks off before loses everything")


def _sizes(spec: TrainSpec, model: Found, studio: Studio, errors: dict[str, str], notes: list[str]) -> None:
    try:
        weights = estimate.weights(model.path)
        room = estimate.disk(spec, weights, studio.settings.folder.runs)
    except (OSError, ValueError, KeyError):
        return  # the pre-flight and the trainer look again, with the model itself
    if room.needed > room.free:
        errors["keep_checkpoints"] = (
            f"the run needs about {estimate.as_text(room.needed)} of disk for {room.checkpoints} checkpoints and two "
            f"trainer states, {estimate.as_text(room.free)} are free; free some, or keep fewer"
        )
    fresh = EXPERT_SIZES[spec.expert] if spec.stage == 2 and spec.expert else None
    total = weights.total + (estimate.expert_parameters(fresh, weights.width) if fresh else 0)
    if spec.device == "cpu" and total > _LARGE:
        notes.append(f"about {total / 1e9:.1f} billion parameters on a CPU: a step will take minutes")
    if isinstance(fresh, ScaleDPSpec) and spec.expert == "tiny" and weights.total > _LARGE:
        notes.append("the tiny expert on a base model of real size learns little; take scaledp-l or scaledp-h")
    if spec.expert not in (None, "tiny", "small", "unet-tiny") and weights.language < _LARGE // 10:
        notes.append(f"the base model is a tiny one with random weights; {spec.expert} will not make it capable")
