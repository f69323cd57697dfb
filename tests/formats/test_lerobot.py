"""LeRobot datasets: the round trip is exact, its own loader reads ours, we read what its own writer makes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dexvla.episodes.reader import open_episode
from dexvla.formats import registry
from dexvla.formats.base import Exported, ExportEpisode, FormatError
from dexvla.formats.importing import ImportReport, import_source
from dexvla.formats.lerobot import writing
from dexvla.formats.lerobot.layout import INFO, read_dataset
from dexvla.spec import ImportProfile
from tests.support.environments import LEROBOT, PipFailed
from tests.support.lerobot_torchvision import write_stand_in
from tests.support.media_data import INSTRUCTION, episode_of, export_episode, exported
from tests.support.paths import ROOT

FORMATS = ("lerobot", "lerobot-images", "lerobot-language")


def there_and_back(folder: Path, name: str, *episodes: ExportEpisode) -> tuple[list[Exported], ImportReport]:
    done = exported(registry.exporter(name), folder / name, *episodes)
    report = import_source(folder / name, folder / f"{name}-back", ImportProfile())
    assert (report.format, report.refused) == ("lerobot", [])
    return done, report


@pytest.mark.parametrize("name", FORMATS)
def test_a_round_trip_keeps_motion_times_and_labels(tmp_path: Path, name: str) -> None:
    told = {"attributes": {"fps": 30.0, "success": True, "robot": "aloha_sim", "task": "transfer_cube", "seed": 7}}
    data = {steps: episode_of(steps, seed=steps, **told) for steps in (1, 5, 40)}
    episodes = [
        export_episode(tmp_path, replace(one, joint_positions=one.qpos * 2), f"e{steps}") for steps, one in data.items()
    ]
    done, report = there_and_back(tmp_path, name, *episodes)
    for episode, result, back in zip(episodes, done, report.imported, strict=True):
        with open_episode(episode.path) as before, open_episode(back.file) as after:
            for motion in ("action", "qpos", "qvel", "joint_positions", "timestamp"):
                np.testing.assert_array_equal(getattr(before, motion), getattr(after, motion))
            assert after.substep_reasonings == before.substep_reasonings
            assert after.instruction == INSTRUCTION
            assert after.attributes == before.attributes
            assert after.cameras == before.cameras
            camera = before.cameras[0]
            if name == "lerobot-images":
                assert after.stored_frame(camera, 0).tobytes().rstrip(b"\0") == before.stored_frame(
                    camera, 0
                ).tobytes().rstrip(b"\0")
                assert result.loss_db is None
            else:
                assert result.loss_db is not None
                wrong = after.frame(camera, 0).astype(float) - before.frame(camera, 0)
                assert 10 * np.log10(255**2 / np.mean(wrong**2)) >= result.loss_db - 0.01


def test_images_go_out_some_at_a_time_and_names_of_dimensions_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_GROUP_BYTES", 5000)
    named = {"state_names": ", ".join(f"axis {letter}" for letter in "abcdefghijklmn")}
    episodes = [
        export_episode(tmp_path, replace(episode_of(20, seed=seed), extra_attributes=named), f"e{seed}")
        for seed in range(2)
    ]
    _, report = there_and_back(tmp_path, "lerobot-images", *episodes)
    (file,) = (tmp_path / "lerobot-images" / "data").rglob("*.parquet")
    assert pq.ParquetFile(file).num_row_groups > 8
    info = json.loads((tmp_path / "lerobot-images" / "meta" / "info.json").read_text())
    assert info["features"]["observation.state"]["names"][:2] == ["axis a", "axis b"]
    assert info["features"]["action"]["names"][0] == "left_waist"
    with open_episode(episodes[1].path) as before, open_episode(report.imported[1].file) as after:
        assert after.state_names == before.state_names
        for step in range(20):
            np.testing.assert_array_equal(after.frame("cam_high", step), before.frame("cam_high", step))


@pytest.mark.parametrize(
    ("said", "fps"), [("50", 50.0), ("30000/1001", 30_000 / 1001), (True, None), ("fast", None), ("1/0", None)]
)
def test_a_rate_may_be_text(tmp_path: Path, said: Any, fps: float | None) -> None:
    episode = export_episode(tmp_path, episode_of(4))
    there_and_back(tmp_path, "lerobot-images", episode)
    info = tmp_path / "lerobot-images" / INFO
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fps": said}))
    if fps is None:
        with pytest.raises(FormatError, match="expected a positive number"):
            read_dataset(tmp_path / "lerobot-images")
    else:
        assert read_dataset(tmp_path / "lerobot-images").fps == fps


def test_columns_that_nobody_asks_for_are_not_unpacked(tmp_path: Path) -> None:
    """A few bytes of a dictionary and its numbers are 400 MiB of texts, and may be terabytes."""
    episode = export_episode(tmp_path, episode_of(4))
    there_and_back(tmp_path, "lerobot-images", episode)
    (file,) = (tmp_path / "lerobot-images" / "data").rglob("*.parquet")
    table = pq.read_table(file)
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), ["x" * 2**20])
    wide = pa.concat_tables([table, table.slice(0, 1).take(pa.array([0] * 396))]).append_column("note", rows)
    episodes = np.r_[np.zeros(4, np.int64), np.ones(396, np.int64)]
    wide = wide.set_column(wide.column_names.index("episode_index"), "episode_index", pa.array(episodes))
    pq.write_table(wide, file, use_dictionary=["note"], store_schema=False)
    assert file.stat().st_size < 2**22
    before = pa.default_memory_pool().max_memory()
    info = tmp_path / "lerobot-images" / INFO
    known = json.loads(info.read_text())
    known["features"]["note"] = {"dtype": "string", "shape": [1], "names": None}
    info.write_text(json.dumps(known))
    (one,) = import_source(tmp_path / "lerobot-images", tmp_path / "again", ImportProfile()).imported
    assert one.steps == 4
    assert any("left out: note" in text for text in one.warnings)
    assert pa.default_memory_pool().max_memory() < before + 2**26


def test_episodes_of_several_kinds_are_refused(tmp_path: Path) -> None:
    one = export_episode(tmp_path, episode_of(5), "one")
    other = export_episode(tmp_path, episode_of(5, attributes={"fps": 30.0}), "other")
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError, match=r"other: .*30 Hz.* but one has .*50 Hz.*export them apart"):
        registry.exporter("lerobot").export((one, other), tmp_path / "out", on_episode=lambda _: None)


def test_a_rate_that_is_a_guess_is_not_held_against_another_one_as_if_it_were_known(tmp_path: Path) -> None:
    timeless = replace(episode_of(5, attributes={"fps": None}), timestamp=None)
    silent = export_episode(tmp_path, timeless, "silent")
    other = export_episode(tmp_path, episode_of(5, attributes={"fps": 30.0}), "other")
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError, match=r"but silent has .*50 Hz \(a guess: it does not say its rate\)"):
        registry.exporter("lerobot").export((silent, other), tmp_path / "out", on_episode=lambda _: None)


# --- what comes from outside ------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    exported(registry.exporter("lerobot-images"), tmp_path / "data", export_episode(tmp_path, episode_of(6)))
    return tmp_path / "data"


def change_info(dataset: Path, **facts: Any) -> None:
    file = dataset / "meta" / "info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


def cut_data(dataset: Path) -> None:
    file = next((dataset / "data").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: change_info(folder, codebase_version="v1.6"), "codebase_version is v1.6, expected v3.0"),
        (lambda folder: change_info(folder, data_path="../../{chunk_index}.parquet"), "outside of|is not there"),
        (lambda folder: change_info(folder, data_path="{x:999999999d}"), "data_path is '{x:999999999d}', expected"),
        (lambda folder: change_info(folder, data_path="{file_index:999999999d}"), "expected a path with fields"),
        (lambda folder: change_info(folder, data_path="{chunk_index.__class__}"), "expected a path with fields"),
        (lambda folder: change_info(folder, fps=0), "fps is 0, expected a positive number"),
        (lambda folder: change_info(folder, features={}), "no feature|features is dict"),
        (lambda folder: (folder / "meta/info.json").write_text("{"), "not readable as JSON|looks like none"),
        (cut_data, "cannot be read as Parquet"),
        (
            lambda folder: change_info(folder, codebase_version="v2.1"),
            "data_path is .* expected a path with fields of ep",
        ),
        (lambda folder: change_info(folder, data_path="{chunk_index}{video_key:03d}"), "expected a path with fields"),
        (lambda folder: (folder / "meta/dexvla.json").write_text("[" * 10**5), "not readable as JSON"),
    ],
)
def test_what_is_broken_is_named(dataset: Path, tmp_path: Path, spoil: Callable[[Path], Any], words: str) -> None:
    import re

    spoil(dataset)
    try:
        report = import_source(dataset, tmp_path / "back", ImportProfile())
        reason = report.refused[0].reason
    except FormatError as error:
        reason = str(error)
    assert re.search(words, reason), reason
    assert not list((tmp_path / "back").glob("*.hdf5"))


# --- lerobot itself ---------------------------------------------------------------------------------------


def run_lerobot(tmp_path: Path, script: str, *arguments: str | Path) -> Any:
    """What a script says, as JSON, in an environment with lerobot's own dataset reader and writer."""
    try:
        python = LEROBOT.python()
    except PipFailed as error:
        pytest.skip(f"pip cannot install lerobot: {error}")
    environment = {
        **os.environ,
        "PYTHONPATH": str(write_stand_in(tmp_path / "stand_in")),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hub"),
    }
    command = [python, "-W", "ignore", "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


READ = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset

found = LeRobotDataset("local/ours", root=sys.argv[1], video_backend="pyav")
rows = [found[at] for at in range(len(found))]
camera = "observation.images.cam_high"
print(json.dumps({
    "fps": found.fps,
    "episodes": [int(row["episode_index"]) for row in rows],
    "tasks": [row["task"] for row in rows],
    "actions": [row["action"].tolist() for row in rows],
    "states": [row["observation.state"].tolist() for row in rows],
    "subtasks": [int(row["subtask_index"]) for row in rows],
    "means": [[round(float(value), 3) for value in row[camera].mean(dim=(1, 2))] for row in rows],
    "stats": sorted(found.meta.stats["action"]),
}))
"""


@pytest.mark.parametrize("name", ["lerobot", "lerobot-images"])
def test_its_own_loader_reads_ours(tmp_path: Path, name: str) -> None:
    episodes = [export_episode(tmp_path, episode_of(steps, seed=steps), f"e{steps}") for steps in (7, 30)]
    exported(registry.exporter(name), tmp_path / name, *episodes)
    found = run_lerobot(tmp_path, READ, tmp_path / name)
    assert found["fps"] == 50
    assert found["episodes"] == [0] * 7 + [1] * 30
    assert found["tasks"] == [INSTRUCTION] * 37
    assert {"min", "max", "mean", "std", "count", "q01", "q99"} <= set(found["stats"])
    texts = dict(enumerate(["Reach for the cube", "Lift the cube"]))
    at = 0
    for episode in episodes:
        with open_episode(episode.path) as file:
            for step in range(file.steps):
                assert np.float32(found["actions"][at]).tobytes() == file.action[step].tobytes()
                assert np.float32(found["states"][at]).tobytes() == file.qpos[step].tobytes()
                assert texts[found["subtasks"][at]] == (file.substep_reasonings or ())[step]
                mean = file.frame("cam_high", step).mean(axis=(0, 1)) / 255
                np.testing.assert_allclose(found["means"][at], mean, atol=0.03)
                at += 1


WRITE = """
import json, sys
import numpy
from lerobot.datasets.lerobot_dataset import LeRobotDataset

root, video = sys.argv[1], sys.argv[2] == "video"
kind = "video" if video else "image"
features = {
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    "observation.images.front": {"dtype": kind, "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
}
made = LeRobotDataset.create("local/theirs", fps=20, root=root, features=features, robot_type="so100", use_videos=video)
random = numpy.random.default_rng(0)
actions = []
for episode in range(3):
    for step in range(8 + episode):
        action = random.normal(size=2).astype("float32")
        actions.append(action.tolist())
        image = numpy.full((48, 64, 3), 40, "uint8")
        image[:, : 8 * (step % 8) + 4] = (200, 30 * episode, 60)
        made.add_frame({
            "observation.state": numpy.arange(3, dtype="float32") + step,
            "action": action,
            "observation.images.front": image,
            "task": f"task {episode % 2}",
        })
    made.save_episode()
made.finalize()
print(json.dumps(actions))
"""


@pytest.mark.parametrize("kind", ["video", "image"])
def test_we_read_what_its_own_writer_makes(tmp_path: Path, kind: str) -> None:
    actions = run_lerobot(tmp_path, WRITE, tmp_path / "theirs", kind)
    report = import_source(tmp_path / "theirs", tmp_path / "ours", ImportProfile())
    assert report.refused == []
    at = 0
    for number, back in enumerate(report.imported):
        with open_episode(back.file) as file:
            assert (file.steps, file.instruction) == (8 + number, f"task {number % 2}")
            assert (file.attributes.fps, file.attributes.robot) == (20, "so100")
            assert file.cameras == ("front",)
            for step in range(file.steps):
                assert file.action[step].tobytes() == np.float32(actions[at]).tobytes()
                np.testing.assert_array_equal(file.qpos[step], np.arange(3, dtype=np.float32) + step)
                frame = file.frame("front", step)
                edge = 8 * (step % 8) + 4
                tolerance = 0 if kind == "image" else 40
                np.testing.assert_allclose(frame[24, 1], (200, 30 * number, 60), atol=tolerance)
                np.testing.assert_allclose(frame[24, min(edge + 6, 63)], (40, 40, 40), atol=tolerance)
                at += 1
    assert at == len(actions)


def test_language_columns_are_written_as_its_later_loaders_want_them(tmp_path: Path) -> None:
    episode = export_episode(tmp_path, episode_of(24), paraphrases=("Hand the cube over.",))
    exported(registry.exporter("lerobot-language"), tmp_path / "said", episode)
    info = json.loads((tmp_path / "said/meta/info.json").read_text())
    assert info["features"]["language_persistent"] == {"dtype": "language", "shape": [1], "names": None}
    rows = pq.read_table(next((tmp_path / "said/data").rglob("*.parquet"))).column("language_persistent").to_pylist()
    assert rows == [rows[0]] * 24, "the same list on every row of the episode"
    assert [(one["role"], one["style"], one["content"], one["timestamp"]) for one in rows[0]] == [
        ("user", "task_aug", "Hand the cube over.", 0.0),
        ("assistant", "subtask", "Reach for the cube", 0.0),
        ("assistant", "subtask", "Lift the cube", pytest.approx(12 / 50)),
    ]
    with open_episode(import_source(tmp_path / "said", tmp_path / "back", ImportProfile()).imported[0].file) as back:
        assert back.paraphrases == ("Hand the cube over.",)


def test_it_is_never_loaded() -> None:
    """The package lerobot, and torch, which it would bring along."""
    code = "import sys; import dexvla.formats.lerobot.reading, dexvla.formats.lerobot.writing; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"lerobot", "torch", "datasets", "pandas"} & {name.split(".")[0] for name in said.split()}


def test_what_not_all_episodes_have_is_left_out_and_told(tmp_path: Path) -> None:
    whole = export_episode(tmp_path, episode_of(5), "whole")
    bare = export_episode(tmp_path, replace(episode_of(5, seed=1), qvel=None, timestamp=None), "bare")
    done = exported(registry.exporter("lerobot-images"), tmp_path / "out", whole, bare)
    assert any("left out" in text and "observation.velocity" in text for text in done[0].warnings), done[0].warnings
    assert any("robot_timestamp" in text for text in done[0].warnings)
    assert not any("left out" in text for text in done[1].warnings)


def test_one_episode_of_another_length_stops_no_other(tmp_path: Path) -> None:
    episodes = [export_episode(tmp_path, episode_of(steps, seed=steps), f"e{steps}") for steps in (4, 6)]
    exported(registry.exporter("lerobot-images"), tmp_path / "out", *episodes)
    file = next((tmp_path / "out/meta/episodes").rglob("*.parquet"))
    table = pq.read_table(file).to_pylist()
    table[0]["length"] = 9
    pq.write_table(pa.Table.from_pylist(table), file)
    report = import_source(tmp_path / "out", tmp_path / "back", ImportProfile())
    assert len(report.imported) == 1
    assert "episode 0 has 4 rows, meta/episodes says 9" in report.refused[0].reason


def test_subtasks_whose_texts_are_not_there_are_told(tmp_path: Path) -> None:
    labels = ("Reach.", "Reach.", "Lift.", "Lift.")
    labelled = export_episode(tmp_path, replace(episode_of(4), substep_reasonings=labels))
    exported(registry.exporter("lerobot-images"), tmp_path / "out", labelled)
    texts = tmp_path / "out/meta/subtasks.parquet"
    pq.write_table(pq.read_table(texts).slice(0, 1), texts)
    report = import_source(tmp_path / "out", tmp_path / "half", ImportProfile())
    with open_episode(report.imported[0].file) as episode:
        assert episode.substep_reasonings == ("Reach.", "Reach.", "", "")
    assert "subtask_index of 2 of 4 steps (first 1) is not in meta/subtasks" in " ".join(report.imported[0].warnings)
    texts.unlink()
    report = import_source(tmp_path / "out", tmp_path / "none", ImportProfile())
    assert "subtask_index of 4 of 4 steps (first 0) is not in meta/subtasks" in " ".join(report.imported[0].warnings)


def test_what_we_added_is_not_given_to_another_episode(tmp_path: Path) -> None:
    facts = {"attributes": {"fps": 50.0, "seed": 3}}
    episodes = [export_episode(tmp_path, episode_of(steps, **facts), f"e{steps}") for steps in (4, 6)]
    exported(registry.exporter("lerobot-images"), tmp_path / "out", *episodes)
    ours = tmp_path / "out/meta/dexvla.json"
    listed = json.loads(ours.read_text())
    ours.write_text(json.dumps({**listed, "episodes": listed["episodes"][1:]}))  # a tool that knows nothing of it
    report = import_source(tmp_path / "out", tmp_path / "back", ImportProfile())
    with open_episode(report.imported[0].file) as episode:
        assert episode.attributes.seed is None
    assert any("of another episode" in text for text in report.imported[0].warnings)
