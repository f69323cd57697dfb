"""RLDS: what goes out is read by TensorFlow Datasets' own code and comes back; datasets of others."""

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dexvla.episodes.reader import open_episode
from dexvla.formats import registry
from dexvla.formats.importing import import_source
from dexvla.formats.rlds import wire
from dexvla.formats.rlds.records import look_through, read_record, write_record
from dexvla.spec import ImportProfile
from tests.support.environments import TFDS, PipFailed
from tests.support.media_data import INSTRUCTION, episode_of, export_episode, exported
from tests.support.paths import ROOT
from tests.support.rlds_data import (
    IMAGE,
    PLAIN,
    STATE_VALUES,
    STEPS,
    TEXT,
    bring,
    dataset,
    described,
    encoded,
    image,
    listed,
    tensor,
)

# By TensorFlow: an Example with a = [1, -2, 300], b = ["x"], c = [0.5], a SequenceExample with s = [0], [1], [2]
TENSORFLOWS = bytes.fromhex(
    "3500000000000000d6c55de60a330a160a016112111a0f0a0d01feffffffffffffffff01ac020a0a0a016212050a030a01780a0d0a0163120812"
    "060a040000003f405268d51e00000000000000d9dc1232121c0a1a0a017312150a051a030a01000a051a030a01010a051a030a0102bc2cf4e7"
)


# --- out and back -----------------------------------------------------------------------------------------


def test_frames_of_tensorflow_are_read_and_written_alike(tmp_path: Path) -> None:
    file = tmp_path / "one"
    file.write_bytes(TENSORFLOWS)
    shard = look_through(file)
    records = [read_record(file, offset) for offset in shard.offsets]
    first, second = map(wire.features_of, records)
    assert first["a"].numbers().tolist() == [1, -2, 300]
    assert [bytes(blob) for blob in first["b"].blobs()] == [b"x"]
    assert first["c"].numbers().tolist() == [0.5]
    assert second["s"].numbers().tolist() == [0, 1, 2]
    assert encoded({"a": np.array([1, -2, 300]), "b": [b"x"], "c": np.float32([0.5])}) == records[0]
    with (tmp_path / "again").open("wb") as again:
        for record in records:
            write_record(again, [record[:5], record[5:]], len(record))
    assert (tmp_path / "again").read_bytes() == TENSORFLOWS


READ_AND_ENCODE = """
import io, json, sys
from pathlib import Path
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds
sys.path.insert(0, sys.argv[3])
from dexvla.formats.rlds.records import look_through, read_record, write_record

builder = tfds.builder_from_directory(sys.argv[1])
split = builder.info.splits["train"]
found = []
for path in map(Path, map(str, split.filepaths)):
    for offset in look_through(path).offsets:
        example = builder.info.features.deserialize_example_np(read_record(path, offset))
        steps = list(example["steps"])
        found.append({
            "state": [step["observation"]["state"].tolist() for step in steps],
            "action": [step["action"].tolist() for step in steps],
            "first": [bool(step["is_first"]) for step in steps],
            "last": [bool(step["is_last"]) for step in steps],
            "time": [float(np.ravel(step["timestamp"])[0]) for step in steps],
            "text": steps[0]["language_instruction"].decode(),
            "substeps": [step["substep"].decode() for step in steps],
            "mean": [step["observation"]["cam_high"].mean(axis=(0, 1)).tolist() for step in steps],
            "name": example["episode_metadata"]["file_path"].decode(),
        })
F = tfds.features
features = F.FeaturesDict({"steps": F.Dataset({
    "observation": F.FeaturesDict({
        "image": F.Image(shape=(16, 24, 3), encoding_format="png"),
        "depth": F.Image(shape=(16, 24, 1), dtype=np.uint16, encoding_format="png"),
        "state": F.Tensor(shape=(3,), dtype=np.float32),
        "timestamp": F.Tensor(shape=(), dtype=np.float64, encoding="zlib"),
    }),
    "action": F.FeaturesDict({"world_vector": F.Tensor(shape=(3,), dtype=np.float32),
        "rotation_delta": F.Tensor(shape=(3,), dtype=np.float32),
        "gripper_closedness_action": F.Tensor(shape=(1,), dtype=np.float32)}),
    "is_first": np.bool_, "is_last": np.bool_, "reward": np.float32, "language_instruction": F.Text(),
    "language_embedding": F.Tensor(shape=(5,), dtype=np.float32),
})})
out = Path(sys.argv[2])
out.mkdir()
features.save_config(out)
def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()

# as its encoders leave it, which take TensorFlow to make PNG
record = features.serialize_example({"steps": {
    "observation": {
        "image": [png(np.full((16, 24, 3), 40 * t, np.uint8)) for t in range(4)],
        "depth": [png(np.full((16, 24), 500, np.uint16))] * 4,
        "state": [np.float32([t, 0.1, 1 / 3]) for t in range(4)],
        "timestamp": [1e9 + t / 7 for t in range(4)],
    },
    "action": {
        "world_vector": [np.float32([t, 1, 2]) for t in range(4)],
        "rotation_delta": [np.float32([3, 4, 5])] * 4,
        "gripper_closedness_action": [np.float32([0.5])] * 4,
    },
    "is_first": [True, False, False, False], "is_last": [False, False, False, True],
    "reward": [0.0, 0.0, 0.0, 1.0],
    "language_instruction": ["pick the cup"] * 4,
    "language_embedding": [np.zeros(5, np.float32)] * 4,
}})
with (out / "lab-train.tfrecord-00000-of-00001").open("wb") as file:
    write_record(file, [record], len(record))
print(json.dumps({"examples": split.num_examples, "found": found}))
"""


def test_tensorflow_datasets_reads_ours_and_we_read_theirs(tmp_path: Path) -> None:
    try:
        python = TFDS.python()
    except PipFailed as error:
        pytest.skip(f"pip cannot install tensorflow-datasets: {error}")
    data = [episode_of(steps, seed=steps, cameras=["cam_high"], size=(16, 24)) for steps in (1, 6)]
    episodes = [export_episode(tmp_path, one, f"e{len(one.action)}") for one in data]
    exported(registry.exporter("rlds"), tmp_path / "out", *episodes)
    folder = tmp_path / "out" / "dexvla_episodes" / "1.0.0"
    command = [python, "-W", "ignore", "-c", READ_AND_ENCODE, folder, tmp_path / "theirs", ROOT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["examples"] == 2
    for one, episode, found in zip(data, episodes, said["found"], strict=True):
        steps = len(one.action)
        np.testing.assert_array_equal(np.asarray(found["state"], np.float32), one.qpos)
        np.testing.assert_array_equal(np.asarray(found["action"], np.float32), one.action)
        np.testing.assert_array_equal(found["time"], one.timestamp)
        assert (found["text"], found["substeps"]) == (INSTRUCTION, list(one.substep_reasonings or ()))
        assert (found["name"], found["first"][0], found["last"][-1], sum(found["last"])) == (
            episode.name,
            True,
            True,
            1,
        )
        with open_episode(episode.path) as file:
            mean = file.frame("cam_high", steps - 1).mean(axis=(0, 1))
        np.testing.assert_allclose(found["mean"][-1], mean, atol=2)
    report = bring(tmp_path / "theirs", tmp_path)
    (back,) = report.imported
    assert any("depth" in text for text in back.warnings)
    assert not any("embedding" in text for text in back.warnings)
    assert "action is world_vector, rotation_delta, gripper_closedness_action" in back.guesses
    with open_episode(back.file) as file:
        np.testing.assert_array_equal(file.action, np.array([[t, 1, 2, 3, 4, 5, 0.5] for t in range(4)], np.float32))
        np.testing.assert_array_equal(file.qpos, np.array([[t, 0.1, 1 / 3] for t in range(4)], np.float32))
        assert file.frame("image", 2).tolist() == np.full((16, 24, 3), 80).tolist()
        assert (file.instruction, file.attributes.success) == ("pick the cup", True)
        assert file.timestamp is not None
        np.testing.assert_allclose(np.diff(file.timestamp), 1 / 7, atol=1e-6)


def test_all_that_our_file_says_comes_back(tmp_path: Path) -> None:
    data = episode_of(5, attributes={"fps": 30.0, "success": True, "robot": "aloha_sim", "task": "cubes", "seed": 7})
    assert data.timestamp is not None
    extra: dict[str, str | int | float | bool] = {
        "mishaps": "drop at step 3",
        "wide_start": True,
        "state_names": ", ".join(f"joint {'abcdefghijklmn'[n]}" for n in range(14)),
    }
    full = dataclasses.replace(
        data,
        joint_positions=data.qpos * 2,
        action_sent=data.action / 3,
        host_timestamp=1.7e9 + data.timestamp,
        marks=[1, 4],
        extra_attributes=extra,
        paraphrases=["Hand it over"],
    )
    for name in ("rlds", "lerobot-images", "robomimic"):
        episode = export_episode(tmp_path, full, name, paraphrases=("Hand it over",))
        exported(registry.exporter(name), tmp_path / f"{name}-out", episode)
        (back,) = import_source(tmp_path / f"{name}-out", tmp_path / f"{name}-back", ImportProfile()).imported
        with open_episode(episode.path) as before, open_episode(back.file) as after:
            for values in ("action", "qpos", "qvel", "joint_positions", "action_sent", "timestamp", "host_timestamp"):
                np.testing.assert_array_equal(
                    getattr(after, values), getattr(before, values), err_msg=f"{name} {values}"
                )
            assert after.attributes == before.attributes, name
            assert (after.marks, after.recovery_attributes) == ((1, 4), before.recovery_attributes), name
            assert (after.paraphrases, after.state_names) == (("Hand it over",), before.state_names), name
            assert after.label_source == before.label_source, name


# --- datasets of others -----------------------------------------------------------------------------------


def test_features_are_found_by_their_usual_names_and_told(tmp_path: Path) -> None:
    step = {
        "observation": {
            "exterior_image": image(),
            "wrist_image": image(),
            "joint_position": tensor("float64", 3),
            "gripper_position": listed(tensor("float32")),
            "natural_language_instruction": TEXT,
            "depth_image": image(),
        },
        "action": {
            "open_gripper": tensor("bool"),
            "rotation_delta": tensor("float32", 3),
            "world_vector": tensor("float32", 3),
        },
        "reward": tensor("float32"),
    }
    record = encoded(
        {
            "steps/observation/exterior_image": [IMAGE] * STEPS,
            "steps/observation/wrist_image": [IMAGE] * STEPS,
            "steps/observation/joint_position": np.arange(3 * STEPS, dtype=np.float32),
            "steps/observation/gripper_position/ragged_flat_values": np.full(STEPS, 9, np.float32),
            "steps/observation/gripper_position/ragged_row_lengths_0": np.ones(STEPS, int),
            "steps/observation/natural_language_instruction": [b"pick", b"pick", b"pick", b"place"],
            "steps/action/open_gripper": np.array([0, 1, 1, 0]),
            "steps/action/rotation_delta": np.zeros(3 * STEPS, np.float32),
            "steps/action/world_vector": np.ones(3 * STEPS, np.float32),
            "steps/reward": np.zeros(STEPS, np.float32),
        }
    )
    (back,) = bring(dataset(tmp_path / "lab", described(step), record), tmp_path, instruction=None).imported
    told = " ".join(back.guesses)
    for words in ("state is joint_position, gripper_position", "action is world_vector, rotation_delta, open_gripper"):
        assert words in told
    assert "its 2 texts are substeps" in told
    with open_episode(back.file) as file:
        assert (file.cameras, file.instruction) == (("exterior_image", "wrist_image"), "pick")
        assert file.qpos[:, 3].tolist() == [9] * STEPS
        assert file.action[:, 6].tolist() == [0, 1, 1, 0]
        assert file.substep_reasonings == ("pick", "pick", "pick", "place")
        assert file.attributes.success is None
        assert file.stored_frame("wrist_image", 3).tobytes().rstrip(b"\0") == IMAGE


def test_a_profile_names_state_and_action(tmp_path: Path) -> None:
    step = {"observation": {"image": image(), "pose": tensor("float32", 3)}, "command": tensor("float32", 2)}
    values = {name.replace("state", "pose").replace("/action", "/command"): one for name, one in STATE_VALUES.items()}
    lab = dataset(tmp_path / "lab", described(step), encoded(values))
    (refused,) = bring(lab, tmp_path).refused
    assert "pose" in refused.reason
    assert "--state-entry" in refused.reason or "--action-entry" in refused.reason
    (back,) = bring(lab, tmp_path, state_entry="pose", action_entry="command").imported
    with open_episode(back.file) as file:
        assert (file.qpos.shape, file.action.shape) == ((STEPS, 3), (STEPS, 2))


def test_old_descriptions_and_texts_of_numbers_are_read(tmp_path: Path) -> None:
    base = "tensorflow_datasets.core.features"
    words = np.frombuffer(b"push the block".ljust(20, b"\0"), np.uint8)
    inner = {
        "observation": {
            "type": f"{base}.features_dict.FeaturesDict",
            "content": {
                "image": {"type": f"{base}.image_feature.Image", "content": {"shape": [16, 24, 3], "dtype": "uint8"}},
                "state": {"type": f"{base}.tensor_feature.Tensor", "content": {"shape": [3], "dtype": "float32"}},
                "instruction": {"type": f"{base}.tensor_feature.Tensor", "content": {"shape": [20], "dtype": "int32"}},
            },
        },
        "action": {"type": f"{base}.tensor_feature.Tensor", "content": {"shape": [2], "dtype": "float32"}},
    }
    steps = {
        "type": f"{base}.dataset_feature.Dataset",
        "content": {"feature": {"type": f"{base}.features_dict.FeaturesDict", "content": inner}, "length": None},
    }
    features = {"type": f"{base}.features_dict.FeaturesDict", "content": {"steps": steps}}
    record = encoded({**STATE_VALUES, "steps/observation/instruction": np.tile(words, STEPS).astype(np.int64)})
    (back,) = bring(dataset(tmp_path / "lab", features, record), tmp_path, instruction=None).imported
    with open_episode(back.file) as file:
        assert file.instruction == "push the block"


def test_a_part_of_a_dataset_keeps_its_numbers(tmp_path: Path) -> None:
    record = encoded(STATE_VALUES)
    splits = [{"name": "train", "shardLengths": ["2", "5", "2"]}]
    lab = dataset(tmp_path / "lab", PLAIN, record, record, shards=(0, 2), of=3, splits=splits)
    report = bring(lab, tmp_path)
    assert [one.file.stem for one in report.imported] == ["train_0", "train_1", "train_7", "train_8"]
    assert all("1 shards of the dataset are not there (train 1)" in " ".join(one.warnings) for one in report.imported)
    alone = bring(lab / "lab-train.tfrecord-00002-of-00003", tmp_path / "alone")
    assert len(alone.imported) == 2
