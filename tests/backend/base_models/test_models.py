"""/api/models: what is found below the roots, registering, forgetting; links that lead out are not followed."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.base_models import service
from backend.base_models.detect import detect
from backend.base_models.whole import require_whole, sums
from backend.core.settings import Settings
from backend.studio.context import Studio
from backend.tables.base_model import ModelKind, RegisteredModel
from backend.tables.job import Job, JobKind, JobState
from dexvla.errors import CheckpointError
from tests.support.training_data import make_version

pytestmark = pytest.mark.slow

SignIn = Callable[[str], TestClient]


@pytest.fixture
def root(settings: Settings, base_model: Path) -> Path:
    """A model root with a base model as a hub's cache stores it: snapshots of links to blobs."""
    root = settings.model_roots[0]
    hub = root / "hub" / "models--Qwen--Tiny"
    shutil.copytree(base_model, hub / "blobs")
    snapshot = hub / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in (hub / "blobs").iterdir():
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    (hub / "blobs" / "config.json").rename(hub / "blobs" / "0123")  # blobs are no model by themselves
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../blobs/0123")
    return root


def register(client: SignIn, kind: ModelKind, name: str) -> dict[str, Any]:
    found = [one for one in client("operator").get("/api/models/candidates").json() if one["kind"] == kind]
    assert len(found) == 1, found
    answer = client("operator").post("/api/models", json={"candidate_id": found[0]["id"], "name": name})
    assert answer.status_code == 201, answer.text
    model: dict[str, Any] = answer.json()
    return model


def test_a_base_model_is_found_registered_and_used(root: Path, client: SignIn) -> None:
    model = register(client, ModelKind.BACKBONE, "Qwen2-VL, tiny")
    assert model["available"] is True
    assert model["path"] == "(models)/hub/models--Qwen--Tiny/snapshots/abc"
    whole = client("admin").get("/api/models").json()
    assert [one["path"] for one in whole] == [str(root / "hub/models--Qwen--Tiny/snapshots/abc")]
    assert (model["info"]["width"], model["info"]["layers"], model["info"]["format"]) == (128, 4, "F32")
    assert model["info"]["parameters"] > 1_000_000
    again = client("operator").get("/api/models/candidates").json()[0]["id"]
    refused = client("operator").post("/api/models", json={"candidate_id": again, "name": "other"})
    assert refused.status_code == 409
    assert client("viewer").get("/api/models").json() == [model]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("older", [False, True], ids=["registered", "registered before sums were kept"])
def test_a_flipped_byte_in_a_base_model_is_noticed_before_it_is_used(
    root: Path, client: SignIn, studio: Studio, name: str, older: bool
) -> None:
    model = register(client, ModelKind.BACKBONE, "Qwen2-VL, tiny")
    with studio.db.transaction() as db:
        row = db.get_one(RegisteredModel, model["id"])
        assert row.files is not None
        assert {"model.safetensors", "config.json", "tokenizer.json"} <= row.files.keys()
        place, kept = row.path, row.files
        if older:
            row.files = None
    require_whole(studio, place)
    with studio.db.transaction(write=False) as db:
        assert db.get_one(RegisteredModel, model["id"]).files == kept
    file = (Path(place) / name).resolve()
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: sha256 is .* its registration says .* register it again"):
        require_whole(studio, place)
    content[-2] ^= 1
    file.write_bytes(content)
    require_whole(studio, place)
    (Path(place) / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"adapter_config.json: not listed in its registration"):
        require_whole(studio, place)


def test_experts_and_policies_are_told_apart(root: Path, client: SignIn, studio: Studio, tmp_path: Path) -> None:
    with zipfile.ZipFile(root / "scaledp_h.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    (root / "noise.ckpt").write_bytes(b"not a torch file")
    (root / "notes.pt").write_text("neither")
    source = root / "hub/models--Qwen--Tiny/blobs/model.safetensors"
    expert = {"kind": "scaledp", "depth": 4, "width": 128}
    policy = {"action_dim": 14, "state_dim": 14, "expert": expert, "cameras": [{"name": "cam_high"}]}
    for name, config in {
        "policy": {"model_type": "dexvla", "policy": policy},
        "converted": {"model_type": "dexvla_expert"},
        "reference": {"model_type": "qwen2_vla"},
        "other": {"model_type": "llama"},
        "damaged": {"model_type": "dexvla", "policy": 3},
    }.items():
        (root / name).mkdir()
        shutil.copy(source, root / name)
        (root / name / "config.json").write_text(json.dumps(config))
    (root / "weightless").mkdir()
    (root / "weightless" / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    stage_1 = root / "stage1"
    step = stage_1 / "checkpoints" / "step-0000010"
    shutil.copytree(root / "policy", step)
    pretrainer = {"expert": expert, "chunk_size": 8, "embodiments": [{"name": "aloha"}]}
    (step / "config.json").write_text(json.dumps({"model_type": "dexvla_pretrainer", "pretrainer": pretrainer}))
    (step / "manifest.json").write_text(json.dumps({"stage": 1, "step": 10}))
    (stage_1 / "run.json").write_text(json.dumps({"stage": 1}))

    found = {one["folder"]: one for one in client("operator").get("/api/models/candidates").json()}
    assert {folder: one["kind"] for folder, one in found.items()} == {
        "converted": "expert",
        "policy": "policy",
        "reference": "policy",
        "scaledp_h.ckpt": "expert",
        "stage1": "expert",
        "hub/models--Qwen--Tiny/snapshots/abc": "backbone",
    }
    assert found["stage1"]["info"]["embodiments"] == ["aloha"]
    assert found["stage1"]["info"]["step"] == 10
    assert found["policy"]["info"]["cameras"] == ["cam_high"]


def damage(folder: Path, how: str) -> None:
    weights, config = folder / "model.safetensors", folder / "config.json"
    header = {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    if how == "deep JSON":
        config.write_text("[" * 100_000)
    elif how == "deep header":
        text = b"[" * 100_000
        weights.write_bytes(len(text).to_bytes(8, "little") + text)
    elif how == "not UTF-8":
        config.write_bytes(b'{"model_type": "qwen2_vl\xff"}')
    elif how == "giant number":
        config.write_text('{"model_type": "qwen2_vl", "hidden_size": ' + "9" * 5000 + "}")
    elif how == "not a number":
        config.write_text('{"model_type": "qwen2_vl", "hidden_size": NaN}')
    elif how == "lone surrogate":
        config.write_text('{"model_type": "qwen2_vl", "hidden_size": "\\ud800"}')
    elif how == "long fact":
        config.write_text(json.dumps({"model_type": "qwen2_vl", "hidden_size": "x" * 100_000}))
    elif how == "zip in name alone":
        (folder / "broken.ckpt").write_bytes(b"PK\x05\x06" + b"\xff" * 18)
        config.unlink()
    elif how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        if how == "impossible shape":
            header["x"]["shape"] = [10**12, 10**12]
        elif how == "negative shape":
            header["x"]["shape"] = [-1, -1]
        elif how == "overlap":
            header["y"] = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
        elif how == "length beyond the file":
            weights.write_bytes((10**12).to_bytes(8, "little") + b"{}")
            return
        text = json.dumps(header).encode()
        weights.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 4)


@pytest.mark.parametrize(
    "how",
    [
        "deep JSON", "deep header", "not UTF-8", "giant number", "not a number", "lone surrogate", "long fact",
        "zip in name alone", "cut", "impossible shape", "negative shape", "overlap", "length beyond the file",
    ],
)  # fmt: skip
def test_a_damaged_folder_spoils_only_its_own_row(root: Path, client: SignIn, base_model: Path, how: str) -> None:
    """Of what is found, and of what was registered before it was damaged."""
    shutil.copytree(base_model, root / "hub" / "spoilt")
    places = {one["folder"]: one for one in client("operator").get("/api/models/candidates").json()}
    assert set(places) == {"hub/spoilt", "hub/models--Qwen--Tiny/snapshots/abc"}
    for name, one in places.items():
        answer = client("operator").post("/api/models", json={"candidate_id": one["id"], "name": name})
        assert answer.status_code == 201, answer.text
    damage(root / "hub" / "spoilt", how)
    left = client("operator").get("/api/models/candidates")
    assert left.status_code == 200
    assert [one["folder"] for one in left.json()] == ["hub/models--Qwen--Tiny/snapshots/abc"]
    listed = {one["name"]: one["available"] for one in client("viewer").get("/api/models").json()}
    assert listed == {"hub/spoilt": False, "hub/models--Qwen--Tiny/snapshots/abc": True}


def test_a_name_that_is_no_text_spoils_no_list(root: Path, client: SignIn, base_model: Path) -> None:
    shutil.copytree(base_model, root / "hub" / os.fsdecode(b"odd\xff"))
    found = client("operator").get("/api/models/candidates")
    assert found.status_code == 200
    assert "hub/odd\ufffd" in [one["folder"] for one in found.json()]


def test_links_that_lead_out_of_the_root_are_not_offered(
    settings: Settings, client: SignIn, base_model: Path, tmp_path: Path
) -> None:
    root = settings.model_roots[0]
    (root / "linked").symlink_to(base_model)
    shutil.copytree(base_model, root / "half", ignore=shutil.ignore_patterns("*.safetensors"))
    (root / "half" / "model.safetensors").symlink_to(base_model / "model.safetensors")
    shutil.copytree(base_model, root / "a" / "b" / "c" / "d" / "e" / "f")  # deeper than is looked
    shutil.copytree(base_model, root / ".hidden")
    (root / "a" / "round").symlink_to(root)
    assert client("operator").get("/api/models/candidates").json() == []
    forged = client("operator").post("/api/models", json={"candidate_id": str(base_model), "name": "x"})
    assert forged.status_code == 404
    assert detect(base_model) is not None  # what was hidden is a model


def test_a_tiny_model_is_a_job_and_its_files_go_when_it_is_forgotten(client: SignIn, studio: Studio) -> None:
    operator = client("operator")
    refused = operator.post("/api/models/tiny", json={"preset": "huge"})
    assert (refused.status_code, set(refused.json()["error"]["fields"])) == (422, {"preset"})
    job = operator.post("/api/models/tiny", json={"name": "Tiny", "seed": 3}).json()
    assert (job["kind"], job["state"]) == ("init_model", "queued")
    assert operator.post("/api/models/tiny", json={"name": "Tiny"}).status_code == 409  # it is being made
    path = studio.settings.folder.models / job["subject_id"]
    from dexvla.model.init_model import init_model  # loads torch

    init_model(path, preset="tiny", seed=3)
    with studio.db.transaction() as db:
        assert db.get_one(Job, job["id"]).kind == JobKind.INIT_MODEL
        for _ in range(2):  # a second attempt of the job changes nothing
            service.add_made(
                db, studio, model_id=job["subject_id"], name="Tiny", path=path, files=sums(path), created_by=None
            )
    assert [one["name"] for one in operator.get("/api/models").json()] == ["Tiny"]
    assert operator.delete(f"/api/models/{job['subject_id']}").status_code == 204
    assert not path.exists()
    assert operator.get("/api/models").json() == []


def test_a_model_in_use_is_not_forgotten_and_a_registered_one_keeps_its_files(
    root: Path, client: SignIn, studio: Studio, make_episode: Callable[..., Path]
) -> None:
    model = register(client, ModelKind.BACKBONE, "Base")
    version = make_version(studio, make_episode)
    operator = client("operator")
    run = operator.post(
        "/api/runs",
        json={
            "name": "r",
            "stage": 2,
            "preset": "tiny",
            "sources": [{"version_id": version}],
            "base_model_id": model["id"],
        },
    ).json()
    refused = operator.delete(f"/api/models/{model['id']}")
    assert refused.status_code == 409
    assert refused.json()["error"]["detail"] == {"run_id": run["id"]}
    with studio.db.transaction() as db:
        db.get_one(Job, run["job"]["id"]).state = JobState.FAILED
    assert operator.delete(f"/api/models/{model['id']}").status_code == 204
    assert (root / "hub/models--Qwen--Tiny/snapshots/abc/config.json").exists()
    assert operator.get(f"/api/runs/{run['id']}").json()["base_model_name"] == "Base"  # lineage survives

    again = register(client, ModelKind.BACKBONE, "Base")
    shutil.rmtree(root / "hub")
    assert [one["available"] for one in operator.get("/api/models").json()] == [False]
    checked = operator.post("/api/training/check", json={**run["request"], "base_model_id": again["id"]}).json()
    assert "its files are gone" in checked["errors"]["base_model_id"]


def test_roles(root: Path, client: SignIn, anonymous: TestClient) -> None:
    assert anonymous.get("/api/models").status_code == 401
    assert client("viewer").get("/api/models").status_code == 200
    assert client("annotator").get("/api/models/candidates").status_code == 403
    assert client("annotator").post("/api/models/tiny", json={}).status_code == 403
    assert client("annotator").delete("/api/models/x").status_code == 403
    assert client("operator").delete("/api/models/x").status_code == 404
