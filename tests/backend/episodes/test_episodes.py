"""What the annotator is served: exactly the image of the step, colours as recorded, motion, files."""

import dataclasses
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageOps

from dexvla.episodes.format import EpisodeData
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode
from tests.support.people import SignIn

MakeData = Callable[..., EpisodeData]


@pytest.fixture
def put(client: SignIn) -> Callable[[Path], str]:
    """put(file): upload it into a dataset of its own; the episode's id."""
    operator = client("operator")

    def run(file: Path) -> str:
        dataset_id = operator.post("/api/datasets", json={"name": file.stem}).json()["id"]
        answer = operator.post(f"/api/datasets/{dataset_id}/episodes", content=file.read_bytes())
        assert answer.status_code == 201, answer.text
        episode_id: str = answer.json()["episode"]["id"]
        return episode_id

    return run


def unpack(data: bytes) -> tuple[dict[str, Any], list[list[bytes]]]:
    (length,) = struct.unpack_from("<I", data)
    header = json.loads(data[4 : 4 + length])
    position, rows = 4 + length, []
    for sizes in header["sizes"]:
        rows.append([])
        for size in sizes:
            rows[-1].append(data[position : position + size])
            position += size
    assert position == len(data)
    return header, rows


def pixels(jpeg: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


@pytest.fixture(params=["jpeg", "pixels", "swapped jpeg"])
def file(request: pytest.FixtureRequest, tmp_path: Path, make_data: MakeData) -> Path:
    """One episode in each way that images are stored; the last as upstream's tools write it, red and blue swapped."""
    path = tmp_path / "episode.hdf5"
    write_episode(path, make_data(jpeg=request.param != "pixels"))
    if request.param == "swapped jpeg":
        with h5py.File(path, "r+") as stored:
            del stored.attrs["jpeg_channels"]
    return path


def test_frames_are_those_of_the_step(client: SignIn, put: Callable[[Path], str], file: Path) -> None:
    episode_id = put(file)
    viewer = client("viewer")
    with open_episode(file) as episode:
        for camera in episode.cameras:
            for step in (0, 7, episode.steps - 1):
                answer = viewer.get(f"/api/episodes/{episode_id}/frames/{camera}/{step}")
                assert answer.headers["content-type"] == "image/jpeg"
                assert "immutable" in answer.headers["cache-control"]
                assert (
                    np.abs(pixels(answer.content) - episode.frame(camera, step)).mean() < 20
                )  # of what JPEG leaves of noise; swapped colours would be 80
    for wrong in ("cam_high/24", "cam_high/-1", "nothing/0"):
        assert viewer.get(f"/api/episodes/{episode_id}/frames/{wrong}").status_code == 404


def test_packs_hold_every_camera_of_every_step(client: SignIn, put: Callable[[Path], str], file: Path) -> None:
    episode_id = put(file)
    viewer = client("viewer")
    answer = viewer.get(f"/api/episodes/{episode_id}/pack", params={"start": 20, "count": 50})
    header, rows = unpack(answer.content)
    assert (header["start"], header["count"], len(rows)) == (20, 4, 4)
    for index, row in enumerate(rows):
        for camera, image in zip(header["cameras"], row, strict=True):
            single = viewer.get(f"/api/episodes/{episode_id}/frames/{camera}/{20 + index}").content
            assert image == single
    small = viewer.get(f"/api/episodes/{episode_id}/pack", params={"start": 0, "count": 1, "height": 32})
    assert pixels(unpack(small.content)[1][0][0]).shape[0] == 32
    assert viewer.get(f"/api/episodes/{episode_id}/pack", params={"start": 24}).status_code == 404
    assert viewer.get(f"/api/episodes/{episode_id}/pack", params={"start": 0, "stride": 65}).status_code == 422


def test_a_pack_of_every_fourth_step(client: SignIn, put: Callable[[Path], str], file: Path) -> None:
    episode_id, viewer = put(file), client("viewer")
    path = f"/api/episodes/{episode_id}/pack"
    header, rows = unpack(viewer.get(path, params={"start": 4, "count": 50, "stride": 4}).content)
    assert (header["start"], header["stride"], header["count"]) == (4, 4, 5)
    _, whole = unpack(viewer.get(path, params={"start": 0, "count": 24}).content)
    assert rows == whole[4::4]


def test_detail_motion_thumbnail(
    client: SignIn, put: Callable[[Path], str], tmp_path: Path, make_data: MakeData
) -> None:
    write_episode(tmp_path / "e.hdf5", make_data())
    episode_id = put(tmp_path / "e.hdf5")
    viewer = client("viewer")
    detail = viewer.get(f"/api/episodes/{episode_id}").json()
    assert detail["dimension_names"][6] == "left_gripper"
    assert detail["gripper_dimensions"] == [6, 13]
    assert detail["cameras"][0] == {"name": "cam_high", "height": 48, "width": 64}
    assert (detail["previous_id"], detail["next_id"]) == (None, None)
    motion = viewer.get(f"/api/episodes/{episode_id}/motion").json()
    with open_episode(tmp_path / "e.hdf5") as episode:
        assert np.allclose(motion["qpos"], episode.qpos, atol=1e-4)
        assert np.allclose(motion["action"], episode.action, atol=1e-4)
        binary = viewer.get(f"/api/episodes/{episode_id}/motion?binary=true").content
        assert np.frombuffer(binary, "<u4", 3).tolist() == [24, 14, 14]
        columns = np.frombuffer(binary, "<f4", offset=12).reshape(28, 24)
        assert np.array_equal(columns.T, np.hstack([episode.action, episode.qpos]))
    assert pixels(viewer.get(f"/api/episodes/{episode_id}/thumbnail").content).ndim == 3


def test_other_robots_are_shown_too(
    client: SignIn, put: Callable[[Path], str], tmp_path: Path, make_data: MakeData
) -> None:
    write_episode(tmp_path / "e.hdf5", make_data(action_dim=7, state_dim=9, cameras=("front",)))
    detail = client("viewer").get(f"/api/episodes/{put(tmp_path / 'e.hdf5')}").json()
    assert len(detail["dimension_names"]) == 9
    assert detail["gripper_dimensions"] == []


def test_downloads_resume(client: SignIn, put: Callable[[Path], str], tmp_path: Path, make_data: MakeData) -> None:
    write_episode(tmp_path / "my episode.hdf5", make_data())
    episode_id = put(tmp_path / "my episode.hdf5")
    url = f"/api/episodes/{episode_id}/file"
    viewer: TestClient = client("viewer")
    whole = viewer.get(url)
    assert 'filename="my-episode-0.hdf5"' in whole.headers["content-disposition"]
    part = viewer.get(url, headers={"Range": "bytes=1000-"})
    assert part.status_code == 206
    assert whole.content[:1000] + part.content == whole.content
    (tmp_path / "back.hdf5").write_bytes(whole.content)
    with open_episode(tmp_path / "back.hdf5") as episode:
        assert episode.steps == 24


def test_what_never_changes_is_sent_once(
    client: SignIn, put: Callable[[Path], str], tmp_path: Path, make_data: MakeData
) -> None:
    write_episode(tmp_path / "e.hdf5", make_data())
    url = f"/api/episodes/{put(tmp_path / 'e.hdf5')}"
    viewer = client("viewer")
    tags = set()
    for what in (
        "motion",
        "thumbnail",
        "frames/cam_high/3",
        "frames/cam_high/4",
        "pack?start=0",
        "pack?start=0&height=32",
    ):
        first = viewer.get(f"{url}/{what}")
        assert "immutable" in first.headers["cache-control"]
        tags.add(first.headers["etag"])
        again = viewer.get(f"{url}/{what}", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert len(tags) == 6


def test_images_are_not_turned_by_what_their_camera_says(
    client: SignIn, put: Callable[[Path], str], tmp_path: Path, make_data: MakeData
) -> None:
    """Decoders for training ignore Exif, browsers obey it: the page shows what a policy sees."""
    data = make_data(cameras=("cam_high",))
    turned = []
    for image in data.images["cam_high"]:
        buffer, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6  # a quarter turn
        Image.open(io.BytesIO(image)).save(buffer, "JPEG", exif=exif)
        turned.append(buffer.getvalue())
    write_episode(tmp_path / "e.hdf5", dataclasses.replace(data, images={"cam_high": turned}))
    image = client("viewer").get(f"/api/episodes/{put(tmp_path / 'e.hdf5')}/frames/cam_high/3").content
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(image))).size == (64, 48)
