"""/api/training and /api/runs: the form, what is wrong with a run, the same run as a file and as a command line."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from backend.core.db import new_id
from backend.studio.context import Studio
from backend.tables.base_model import ModelKind, RegisteredModel
from backend.tables.job import Job, JobKind, JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.training.assemble import Places, assemble, differences
from backend.training.estimate import expert_parameters
from backend.training.form import STAGES, fields, flat_spec, form
from backend.training.recipe import command, spec_yaml
from backend.training.schemas import RunIn
from dexvla.spec import EXPERT_SIZES, PRESETS, Group, PolicySpec, TrainSpec, UNetSpec, with_preset
from tests.support.training_data import make_version

pytestmark = pytest.mark.slow

SignIn = Callable[[str], TestClient]
PLACES = Places(
    data=(("/data/a/manifest.json", 1.0), ("/data/b/manifest.json", 2.5)),
    init_from="/models/base",
    pretrained_expert=None,
    output_dir="runs/x",
    picture_cache="/cache/pictures",
    kept_conditions="/cache/conditions",
)


def run_in(**given: Any) -> RunIn:
    return RunIn.model_validate(
        {"name": "Pick cube", "stage": 2, "preset": "tiny", "sources": [{"version_id": "v"}], **given}
    )


@pytest.fixture
def version(studio: Studio, make_episode: Callable[..., Path]) -> str:
    return make_version(studio, make_episode)


@pytest.fixture
def base(studio: Studio, base_model: Path) -> str:
    with studio.db.transaction() as db:
        row = RegisteredModel(name="Tiny", kind=ModelKind.BACKBONE, path=str(base_model), size_bytes=1)
        db.add(row)
    return row.id


@pytest.fixture
def body(version: str, base: str) -> dict[str, Any]:
    return {
        "name": "Pick cube",
        "stage": 2,
        "preset": "tiny",
        "sources": [{"version_id": version}],
        "base_model_id": base,
        "fields": {"steps": 4, "chunk_size": 8, "image_height": 56, "image_width": 84},
    }


# --- the form -----------------------------------------------------------------------------------------------------


def test_the_form_has_every_field_of_the_spec_that_a_person_may_choose() -> None:
    own = {"name", "preset", "stage", "data", "init_from", "pretrained_expert", "output_dir", "text_data"}
    stage_1 = {"image_encoder", "text_encoder", "train_text_encoder"}
    tops = {path.partition(".")[0] for path in fields()}
    assert tops == set(TrainSpec.model_fields) - own - stage_1
    groups = list(dict.fromkeys(field.group for field in form().fields))
    assert groups == form().groups == list(Group)
    shown_first = [field.path for field in form().fields if not field.advanced]
    assert shown_first[:5] == ["expert", "steps", "batch_size", "optim.learning_rate", "lora"]
    assert [field.path for field in form().fields][: len(shown_first)] == shown_first


def test_fields_carry_the_bounds_units_and_stages_of_the_spec() -> None:
    chunk, rate, towers, rank = (
        fields()[path] for path in ("chunk_size", "optim.learning_rate", "lora.towers", "lora.rank")
    )
    assert (chunk.minimum, chunk.maximum, chunk.unit, chunk.stages, chunk.optional) == (1, 1000, "steps", [2], True)
    assert (rate.exclusive_minimum, rate.minimum, rate.default, rate.stages) == (0, None, 2e-5, [2, 3])
    assert (towers.kind, towers.choices, rank.requires) == ("choices", ["vision", "llm", "expert"], "lora")
    assert fields()["precision"].choices == ["float32", "bf16", "bf16_pure"]
    assert fields()["optim.betas"].kind == "numbers"
    assert fields()["optim.betas"].exclusive_maximum == 1
    assert fields()["image_height"].unit == "pixels"


def test_presets_fill_the_form_for_both_stages_and_make_the_spec_that_the_command_makes() -> None:
    assert [preset.name for preset in form().presets[:3]] == ["tiny", "small", "dexvla-2b-scaledp-h"]
    assert {preset.name for preset in form().presets} == set(PRESETS)
    for preset in form().presets:
        for stage in STAGES:
            assert set(preset.values[stage]) <= set(fields())
            body = run_in(stage=stage, preset=preset.name, fields=preset.values[stage])
            made = assemble(body, PLACES)
            assert made.errors == {}
            assert made.spec is not None
            assert differences(made.spec) == {}
            alone = {
                "name": "Pick-cube",
                "stage": stage,
                "preset": preset.name,
                "data": [{"path": path, "weight": weight} for path, weight in PLACES.data],
                "init_from": PLACES.init_from,
                "output_dir": PLACES.output_dir,
            }
            assert made.spec == with_preset(alone)


# --- from the form to the spec ------------------------------------------------------------------------------------


def test_every_value_of_the_form_arrives_in_the_spec() -> None:
    given = {
        "steps": 7,
        "lora": True,
        "lora.rank": 3,
        "lora.towers": ["llm"],
        "optim.betas": [0.5, 0.6],
        "action_space.kind": "delta",
        "action_space.absolute": [6, 13],
        "cameras": ["cam_high"],
        "ema_decay": 0.99,
        "picture_cache": True,
    }
    made = assemble(run_in(fields=given), PLACES)
    assert made.errors == {}
    assert made.spec is not None
    used = flat_spec(made.spec)
    assert {path: used[path] for path in given} == given
    assert made.spec.picture_cache == "/cache/pictures"
    assert set(differences(made.spec)) == set(given)
    assert differences(made.spec)["steps"] == [200, 7]


def test_a_switched_off_group_overrules_the_preset_and_keeps_its_values_out() -> None:
    made = assemble(run_in(preset="divla", fields={"lora": False, "lora.rank": 3}), PLACES)
    assert made.spec is not None
    assert made.spec.lora is None
    assert differences(made.spec) == {"lora": [True, False]}
    over = assemble(run_in(preset="divla", fields={"lora.rank": 3}), PLACES)
    assert over.spec is not None
    assert over.spec.lora is not None
    assert (over.spec.lora.rank, over.spec.lora.alpha) == (3, 256)
    assert assemble(run_in(fields={"lora.rank": 3}), PLACES).errors == {
        "lora.rank": "LoRA is off; switch it on, or leave this out"
    }


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ({"fields": {"steps": 0}}, {"steps"}),
        ({"fields": {"steps": "many"}}, {"steps"}),
        ({"fields": {"optim.learning_rate": -1}}, {"optim.learning_rate"}),
        ({"fields": {"optim.betas": [0.9, 1.5]}}, {"optim.betas"}),
        ({"fields": {"lora": True, "lora.rank": 0, "steps": 0}}, {"lora.rank", "steps"}),
        ({"fields": {"expert": "huge"}}, {"expert"}),
        ({"fields": {"precision": "fp8"}}, {"precision"}),
        ({"fields": {"lora": "yes"}}, {"lora"}),
        ({"fields": {"image_height": None}}, {"image_height", "image_width"}),
        ({"fields": {"output_dir": "/etc"}}, {"output_dir"}),
        ({"fields": {"picture_cache": "/etc"}}, {"picture_cache"}),
        (
            {"fields": {"kept_conditions": "/etc", "freeze_backbone": True, "augment": False}},
            {"kept_conditions"},
        ),
        ({"fields": {"kept_conditions": True}}, {"kept_conditions", "freeze_backbone", "augment"}),
        ({"fields": {"no_such": 1}}, {"no_such"}),
        ({"fields": {"freeze_backbone": True, "lora": True}}, {"freeze_backbone", "lora"}),
        ({"preset": None, "fields": {}}, {"expert"}),
        ({"preset": "huge"}, {"preset"}),
        ({"stage": 3, "fields": {"chunk_size": 4}}, {"chunk_size"}),
    ],
)
def test_what_is_wrong_stands_at_its_field(given: dict[str, Any], places: set[str]) -> None:
    assert set(assemble(run_in(**given), PLACES).errors) == places


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"fields": {"optim.eps": 1e-7, "optim.betas": [0.9, 0.98], "steps": 5, "precision": "bf16"}},
        {"preset": "divla", "fields": {"lora": False}},
        {"preset": "divla", "fields": {"lora.rank": 8}},
        {"fields": {"lora": True, "lora.towers": ["expert"], "image_height": None, "image_width": None}},
        {"preset": None, "fields": {"expert": "scaledp-l", "cameras": ["null", "true", "a b"]}},
        {"stage": 3, "preset": "dexvla-2b-scaledp-h", "fields": {"ema_decay": 0.9999}},
        {"fields": {"action_space.kind": "delta", "picture_cache": True}},
        {"fields": {"freeze_backbone": True, "augment": False, "kept_conditions": True}},
    ],
)
def test_the_same_run_as_a_file_and_as_a_command_line(given: dict[str, Any], tmp_path: Path) -> None:
    """Both through dexvla's own reader, the command line through a shell."""
    made = assemble(run_in(**given), PLACES)
    assert made.errors == {}
    assert made.spec is not None
    from dexvla.commands.training import train_spec  # what `dexvla train` does before it trains

    file = tmp_path / "spec.yaml"
    file.write_text(spec_yaml(made.spec), encoding="utf-8")
    assert train_spec(file, {"output_dir": None}, [], resume=False) == made.spec
    line = f"{sys.executable} -m {command(made.spec, output_dir='runs/x').replace('dexvla ', 'dexvla.cli ', 1)}"
    if given in ({}, {"preset": "divla", "fields": {"lora.rank": 8}}):
        done = subprocess.run(f"{line} --print-spec", shell=True, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert TrainSpec.model_validate(yaml.safe_load(done.stdout)) == made.spec
    words = shlex.split(line)[4:]
    flags: dict[str, Any] = {"output_dir": None}
    names = {"--stage": "stage", "--preset": "preset", "--from": "init_from", "--out": "output_dir"}
    settings = []
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if flag == "--set":
            settings.append(value)
        elif flag == "--data":
            flags.setdefault("data", []).append({"path": value})
        else:
            flags[names[flag]] = int(value) if flag == "--stage" else value
    assert train_spec(None, flags, settings, resume=False) == made.spec


@pytest.mark.parametrize("name", ["scaledp-b", "scaledp-l", "scaledp-h", "unet"])
def test_the_estimated_size_of_an_expert_is_that_of_the_model(name: str) -> None:
    from accelerate import init_empty_weights

    from dexvla.model.policy import ScaleDP, UNet

    size = EXPERT_SIZES[name]
    spec = PolicySpec(expert=size, action_dim=14, state_dim=14, chunk_size=16)
    with init_empty_weights():
        model = (UNet if isinstance(size, UNetSpec) else ScaleDP)(spec, 1536)
    real = sum(parameter.numel() for parameter in model.parameters())
    assert expert_parameters(size, 1536) == pytest.approx(real, rel=0.05)


# --- over the API -------------------------------------------------------------------------------------------------


def test_a_good_form_becomes_a_queued_run_with_its_recipe(
    client: SignIn, studio: Studio, body: dict[str, Any], version: str, base: str
) -> None:
    operator = client("operator")
    checked = operator.post("/api/training/check", json=body)
    assert checked.status_code == 200, checked.text
    assert checked.json()["errors"] == {}
    assert checked.json()["ok"] is True
    assert checked.json()["differences"]["steps"] == [200, 4]
    assert checked.json()["command"].startswith("dexvla train --stage 2 --preset tiny --data ")
    assert checked.json()["command_many_gpus"].startswith("accelerate launch --multi_gpu ")

    made = operator.post("/api/runs", json=body)
    assert made.status_code == 201, made.text
    run = made.json()
    assert (run["name"], run["stage"], run["job"]["state"], run["job"]["total"]) == ("Pick cube", 2, "queued", 4)
    assert run["base_model_name"] == "Tiny"
    assert run["sources"][0]["version_id"] == version
    assert run["spec"]["output_dir"] == f"$STUDIO_DATA/runs/{run['id']}"
    spec = client("admin").get(f"/api/runs/{run['id']}").json()["spec"]  # who else asks is not told where things lie
    assert spec["output_dir"] == str(studio.settings.folder.run(run["id"]))
    assert spec["data"] == [
        {
            "path": str(studio.settings.folder.manifest(version)),
            "weight": 1.0,
            "embodiment": None,
            "action_space": None,
        }
    ]
    assert RunIn.model_validate(run["request"]) == RunIn.model_validate(body)
    file = client("admin").get(f"/api/runs/{run['id']}/spec.yaml")
    assert TrainSpec.model_validate(yaml.safe_load(file.text)).model_dump(mode="json") == spec
    assert file.headers["content-disposition"] == 'attachment; filename="Pick-cube.yaml"'
    told = client("viewer").get(f"/api/runs/{run['id']}/spec.yaml").text
    assert told == file.text.replace(str(studio.settings.folder.root), "$STUDIO_DATA")
    again = operator.post("/api/runs", json=run["request"])  # a copy: names need not be unique
    assert again.status_code == 201
    assert again.json()["id"] != run["id"]
    assert [one["id"] for one in operator.get("/api/runs").json()] == [again.json()["id"], run["id"]]
    with studio.db.transaction() as db:
        job = db.get_one(Job, run["job"]["id"])
        assert (job.kind, job.subject_id, job.payload) == (JobKind.TRAIN, run["id"], {"run_id": run["id"]})


def test_the_preflight_is_a_job_of_its_own_and_makes_no_folder(
    client: SignIn, studio: Studio, body: dict[str, Any]
) -> None:
    answer = client("operator").post("/api/training/preflight", json=body)
    assert answer.status_code == 202, answer.text
    with studio.db.transaction() as db:
        job = db.get_one(Job, answer.json()["id"])
        assert TrainSpec.model_validate(job.payload["spec"]).steps == 4
    assert list(studio.settings.folder.runs.iterdir()) == []


def test_what_a_run_needs_and_what_is_gone(
    client: SignIn, studio: Studio, body: dict[str, Any], version: str, tmp_path: Path, make_episode: Any
) -> None:
    operator = client("operator")

    def errors(**changed: Any) -> dict[str, str]:
        answer = operator.post("/api/training/check", json={**body, **changed})
        assert answer.status_code == 200, answer.text
        assert answer.json()["ok"] is (answer.json()["errors"] == {})
        assert (answer.json()["command"] is None) is bool(answer.json()["errors"])
        found: dict[str, str] = answer.json()["errors"]
        return found

    assert "choose one" in errors(base_model_id=None)["base_model_id"]
    assert "not registered" in errors(base_model_id="0" * 32)["base_model_id"]
    assert "no such dataset version" in errors(sources=[{"version_id": "0" * 32}])["sources.0"]
    twice = [{"version_id": version}, {"version_id": version}]
    assert "listed twice" in errors(sources=twice)["sources.1"]
    assert set(errors(base_model_id=None, fields={"steps": 0})) == {"base_model_id", "steps"}
    assert set(errors(stage=3, base_model_id=None)) >= {"checkpoint_id"}
    assert "stage 2 starts from a base model" in errors(checkpoint_id="0" * 32)["checkpoint_id"]
    assert "has no cam_x" in errors(fields={**body["fields"], "cameras": ["cam_x"]})["cameras"]
    assert "nothing is left" in errors(fields={**body["fields"], "validation_fraction": 0.9})["validation_fraction"]

    ten = make_version(studio, make_episode, seed=10, action_dim=10, state_dim=7, cameras=("left", "cam_high"))
    mixed = errors(sources=[{"version_id": version}, {"version_id": ten}])
    assert "action dimensions 10" in mixed["sources.1"]
    copies = make_version(studio, make_episode, seed=1, count=1)
    assert "same episode" in errors(sources=[{"version_id": version}, {"version_id": copies}])["sources.1"]

    refused = operator.post("/api/runs", json={**body, "fields": {"steps": 0}})
    assert refused.status_code == 422
    assert "steps" in refused.json()["error"]["fields"]
    assert operator.get("/api/runs").json() == []

    expert = RegisteredModel(name="Gone", kind=ModelKind.EXPERT, path=str(tmp_path / "gone.ckpt"), size_bytes=1)
    with studio.db.transaction() as db:
        db.add(expert)
    assert "gone.ckpt; put them back" in errors(expert_id=expert.id)["expert_id"]
    assert "is a pretrained expert; expected a base model" in errors(base_model_id=expert.id)["base_model_id"]

    manifest = studio.settings.folder.manifest(version)
    episode = Path(json.loads(manifest.read_text())["episodes"][0]["path"])
    kept = episode.rename(episode.with_suffix(".kept"))
    assert "1 of its episode files are gone" in errors()["sources.0"]
    kept.rename(episode)
    assert errors() == {}
    manifest.unlink()
    assert "its manifest is gone" in errors()["sources.0"]


def test_notes_say_what_is_odd(
    client: SignIn, studio: Studio, body: dict[str, Any], make_episode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a large expert's checkpoints fit nowhere on many a machine, which is another test's subject
    monkeypatch.setattr("backend.training.estimate.shutil.disk_usage", lambda path: SimpleNamespace(free=2**40))
    bare = make_version(studio, make_episode, seed=50, labels=None)
    sources = [*body["sources"], {"version_id": bare, "weight": 3}]
    changed = {**body["fields"], "validation_fraction": 0.1, "chunk_size": 40, "expert": "scaledp-l"}
    answer = client("operator").post("/api/training/check", json={**body, "sources": sources, "fields": changed})
    notes = "\n".join(answer.json()["notes"])
    assert answer.json()["ok"], answer.text
    assert "50% of the steps have a substep label" in notes
    assert "none is held out" in notes
    assert "partly padding" in notes
    assert "tiny one with random weights" in notes
    assert "sees only" in notes


def test_a_disk_that_is_too_small_and_experts_that_do_not_fit(
    client: SignIn, studio: Studio, body: dict[str, Any], base_model: Path, tmp_path: Path
) -> None:
    operator = client("operator")
    many = {**body["fields"], "steps": 10**9, "save_every": 1, "keep_checkpoints": 10**8}
    full = operator.post("/api/training/check", json={**body, "fields": many}).json()
    assert "GiB are free; free some, or keep fewer" in full["errors"]["keep_checkpoints"]

    expert = {"kind": "scaledp", "depth": 4, "width": 128, "heads": 4, "combine_width": 256}
    robot = {"name": "aloha", "action_dim": 14, "state_dim": 14, "cameras": []}
    pretrainer = {"expert": expert, "chunk_size": 8, "image_encoder": {}, "embodiments": [robot]}
    folder = tmp_path / "stage1"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((base_model / "model.safetensors").read_bytes())
    (folder / "config.json").write_text(json.dumps({"model_type": "dexvla_pretrainer", "pretrainer": pretrainer}))
    with studio.db.transaction() as db:
        row = RegisteredModel(name="Stage 1", kind=ModelKind.EXPERT, path=str(folder), size_bytes=1)
        db.add(row)

    def errors(**fields: Any) -> dict[str, str]:
        asked = {**body, "expert_id": row.id, "fields": {**body["fields"], **fields}}
        found: dict[str, str] = operator.post("/api/training/check", json=asked).json()["errors"]
        return found

    assert errors() == {}
    assert errors(pretrained_embodiment="aloha") == {}
    assert "knows aloha" in errors(pretrained_embodiment="franka")["pretrained_embodiment"]
    assert "chunks of 8 steps" in errors(chunk_size=20)["chunk_size"]
    assert "other sizes than scaledp-h: tiny" in errors(expert="scaledp-h")["expert"]
    assert "cannot take its weights" in errors(expert="unet", chunk_size=16)["expert"]


def test_roles(client: SignIn, anonymous: TestClient, body: dict[str, Any]) -> None:
    assert anonymous.get("/api/training/form").status_code == 401
    assert anonymous.post("/api/runs", json=body).status_code == 401
    assert client("viewer").get("/api/training/form").status_code == 200
    for path in ("/api/training/check", "/api/training/preflight", "/api/runs"):
        assert client("annotator").post(path, json=body).status_code == 403
    run_id = client("operator").post("/api/runs", json=body).json()["id"]
    assert client("viewer").get(f"/api/runs/{run_id}").status_code == 200
    assert client("annotator").delete(f"/api/runs/{run_id}").status_code == 403
    assert client("viewer").get(f"/api/runs/{new_id()}").status_code == 404


def test_curves_and_deletion(client: SignIn, studio: Studio, body: dict[str, Any]) -> None:
    operator = client("operator")
    run = operator.post("/api/runs", json=body).json()
    with studio.db.transaction() as db:
        for step in range(1, 101):
            db.add(MetricPoint(run_id=run["id"], step=step, attempt=1, values={"loss": 1 / step}))
        db.add(MetricPoint(run_id=run["id"], step=105, attempt=2, values={"val_loss": 0.25}))
    curve = client("viewer").get(f"/api/runs/{run['id']}/metrics?after=50&points=10").json()
    assert (curve["total"], curve["steps"][0], curve["steps"][-1]) == (51, 51, 105)
    assert len(curve["steps"]) <= 10
    assert operator.get("/api/runs").json()[0]["latest"] == {"loss": 0.01, "val_loss": 0.25}

    folder = studio.settings.folder.run(run["id"])
    (folder / "checkpoints").mkdir(parents=True)
    refused = operator.delete(f"/api/runs/{run['id']}")
    assert refused.status_code == 409
    assert "cancel it first" in refused.json()["error"]["message"]
    assert folder.is_dir()
    with studio.db.transaction() as db:
        db.get_one(Job, run["job"]["id"]).state = JobState.CANCELLED
    assert operator.delete(f"/api/runs/{run['id']}").status_code == 204
    assert not folder.exists()
    assert operator.get("/api/runs").json() == []
    assert operator.get(f"/api/runs/{run['id']}").status_code == 404
    with studio.db.transaction() as db:
        assert db.get_one(Run, run["id"]).deleted_at is not None
