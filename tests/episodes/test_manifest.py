"""Manifests embed labels and identities; identities hang on motion and pictures alone."""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexvla.episodes.manifest import build_manifest, find_set, load_manifest, manifest_hash, save_manifest
from dexvla.episodes.segments import per_step, run_length
from dexvla.errors import EpisodeError, UserError
from dexvla.spec import EpisodeEntry


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=60))
def test_run_length_coding_round_trips(labels: list[str]) -> None:
    segments = run_length(labels)
    assert per_step(segments) == labels
    assert all(left.text != right.text for left, right in itertools.pairwise(segments))


def test_a_manifest_embeds_the_labels_and_survives_a_round_trip(tmp_path: Path, demos: Path) -> None:
    manifest, motions = build_manifest(find_set(str(demos)))
    assert [entry.substeps[0].end for entry in manifest.episodes] == [12, 12, 12]
    assert manifest.episodes[0].substeps[1].text == "Lift the cube"
    assert motions[2][0].shape == (24, 14)
    assert manifest.episodes[1].cameras[0].height == 48
    save_manifest(tmp_path / "dataset.json", manifest)
    assert load_manifest(tmp_path / "dataset.json") == manifest


def test_identity_ignores_labels_but_not_motion_or_pictures(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    def identity(name: str, **options: object) -> str:
        path = make_episode(tmp_path / name / "episode_0.hdf5", **options)
        return build_manifest(find_set(str(path)))[0].episodes[0].identity

    first = identity("a")
    assert identity("b", labels=None, instruction="Something else.") == first
    assert identity("c", seed=1) != first
    assert identity("d", steps=23) != first
    copy = make_episode(tmp_path / "e" / "episode_0.hdf5")
    with h5py.File(copy, "a") as file:
        wide = np.pad(file["observations/images/cam_high"][:], ((0, 0), (0, 99)))
        del file["observations/images/cam_high"]
        file["observations/images/cam_high"] = wide
    assert build_manifest(find_set(str(copy)))[0].episodes[0].identity == first, "padding must not count"


def test_the_hash_of_a_manifest_hangs_on_labels_not_on_places(
    tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    def digest(name: str, **options: object) -> str:
        path = make_episode(tmp_path / name / "episode_0.hdf5", **options)
        return manifest_hash(build_manifest(find_set(str(path)))[0])

    assert digest("a") == digest("b")
    assert digest("c", labels=("Another",)) != digest("a2")


def test_later_fields_change_the_hash_only_where_they_say_something(demos: Path) -> None:
    manifest, _ = build_manifest(find_set(str(demos)))
    older = json.loads(manifest.model_dump_json())
    for entry in older["episodes"]:
        del entry["path"], entry["plan"], entry["paraphrases"], entry["learn"], entry["aliases"]
    text = json.dumps(older, sort_keys=True, ensure_ascii=False)
    assert manifest_hash(manifest) == hashlib.sha256(text.encode()).hexdigest()
    first = manifest.episodes[0]
    for more in ({"paraphrases": ("Lift it",)}, {"plan": first.substeps}):
        changed = manifest.model_copy(update={"episodes": (first.model_copy(update=more), *manifest.episodes[1:])})
        assert manifest_hash(changed) != manifest_hash(manifest)


def test_a_plan_covers_the_steps(demos: Path) -> None:
    manifest, _ = build_manifest(find_set(str(demos)))
    entry = json.loads(manifest.episodes[0].model_dump_json())
    entry["plan"] = [{"start": 0, "end": 20, "text": "Bring it"}]
    with pytest.raises(ValueError, match="plan end at 20, the episode has 24 steps"):
        EpisodeEntry.model_validate(entry)


def test_a_task_entry_names_folders_cameras_and_length(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    make_episode(tmp_path / "one" / "episode_0.hdf5", seed=0)
    make_episode(tmp_path / "two" / "episode_0.hdf5", seed=1, steps=8)
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(
        "cubes:\n  dataset_dir: [one, two]\n  episode_len: 10\n  camera_names: [cam_right_wrist, cam_high]\n"
    )
    manifest, motions = build_manifest(find_set(f"{tasks}#cubes"))
    assert manifest.cameras == ("cam_right_wrist", "cam_high")
    assert [entry.steps for entry in manifest.episodes] == [10, 8]
    assert motions[0][0].shape == (10, 14)
    assert manifest.episodes[0].substeps[-1].end == 10
    with pytest.raises(UserError, match=r"no task 'spheres'; write tasks.yaml#TASK with one of: cubes"):
        find_set(f"{tasks}#spheres")
    tasks.write_text("cubes:\n  dataset_dirs: [one]\n")
    with pytest.raises(UserError, match="dataset_dir"):
        find_set(f"{tasks}#cubes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_dim": 10}, "action dimension 10, but"),
        ({"state_dim": 7, "action_dim": 14}, "state dimension 7, but"),
        ({"cameras": ("cam_high",)}, "cameras cam_high; expected cam_high, cam_left_wrist"),
        ({"attributes": {"render_profile": "full"}}, "render profile full, but"),
        ({"attributes": {"fps": 30.0}}, "rate in Hz 30.0, but"),
    ],
)
def test_episodes_that_differ_are_refused_with_both_sides(
    tmp_path: Path, make_episode: Callable[..., Path], options: dict[str, object], message: str
) -> None:
    make_episode(tmp_path / "episode_0.hdf5")
    make_episode(tmp_path / "episode_1.hdf5", seed=1, **options)
    with pytest.raises(EpisodeError) as caught:
        build_manifest(find_set(str(tmp_path)))
    assert message in str(caught.value)
    assert "episode_1.hdf5" in str(caught.value)


def test_a_camera_that_is_wanted_must_be_there(demos: Path) -> None:
    manifest, _ = build_manifest(find_set(str(demos)), cameras=("cam_high",))
    assert manifest.cameras == ("cam_high",)
    with pytest.raises(EpisodeError, match="expected cam_low"):
        build_manifest(find_set(str(demos)), cameras=("cam_low",))


def test_every_field_of_a_task_entry_has_an_effect(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    for number in range(3):
        make_episode(tmp_path / "one" / f"episode_{number}.hdf5", seed=number)
    make_episode(tmp_path / "two" / "good_0.hdf5", seed=8)
    make_episode(tmp_path / "wide" / "episode_0.hdf5", seed=9)
    tasks = tmp_path / "tasks.yaml"
    entry = (
        "cubes: {dataset_dir: [one, two], sample_weights: [1, 3], name_filter: 'episode_[12]|good', stats_dir: wide}"
    )
    tasks.write_text(entry)
    found = find_set(f"{tasks}#cubes")
    assert [path.stem for path in found.paths] == ["episode_1", "episode_2", "good_0"]
    assert found.weights == (1.0, 1.0, 3.0)
    assert [path.parent.name for path in found.stats_paths or ()] == ["wide"]
    tasks.write_text("cubes: {dataset_dir: one, name_filter: nothing}")
    with pytest.raises(UserError, match="name_filter 'nothing' leaves no episode"):
        find_set(f"{tasks}#cubes")
    tasks.write_text("cubes: {dataset_dir: [one, two], sample_weights: [1]}")
    with pytest.raises(UserError, match="2 positive numbers, one per dataset_dir"):
        find_set(f"{tasks}#cubes")
    tasks.write_text("cubes: {dataset_dir: one, name_filter: '['}")
    with pytest.raises(UserError, match="not a regular expression"):
        find_set(f"{tasks}#cubes")


def test_a_manifest_as_the_source_keeps_its_own_labels(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    folder = tmp_path / "data"
    for number in range(2):
        make_episode(folder / f"episode_{number}.hdf5", seed=number)
    listed, _ = build_manifest(find_set(str(folder)), cameras=("cam_right_wrist", "cam_high"), relative_to=folder)
    first = listed.episodes[0].model_copy(update={"steps": 10, "substeps": run_length(["Approach"] * 10)})
    listed = listed.model_copy(update={"episodes": (first, listed.episodes[1])})
    save_manifest(folder / "dataset.json", listed)
    for number in range(2):
        with h5py.File(folder / f"episode_{number}.hdf5", "a") as file:
            file["substep_reasonings"][:] = "Changed since"
            file["language_raw"][0] = "Changed since."
    found = find_set(str(folder / "dataset.json"))
    assert found.paths == (folder / "episode_0.hdf5", folder / "episode_1.hdf5")
    assert found.cameras == ("cam_right_wrist", "cam_high")
    again, motions = build_manifest(found, relative_to=folder)
    assert again == listed
    assert [len(action) for action, _ in motions] == [10, 24]

    (folder / "episode_1.hdf5").unlink()
    make_episode(folder / "episode_1.hdf5", seed=9)
    with pytest.raises(EpisodeError, match=r"episode_1.hdf5: another episode than the manifest lists"):
        build_manifest(find_set(str(folder / "dataset.json")))
    (folder / "dataset.json").write_text("[]")
    with pytest.raises(UserError, match=r"dataset.json: not a dataset manifest"):
        find_set(str(folder / "dataset.json"))


@pytest.mark.parametrize("name", ["gone.hdf5", "gone.json"])
def test_a_file_that_is_missing_is_not_called_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(EpisodeError, match=rf"{name}: no such file$"):
        find_set(str(tmp_path / name))
