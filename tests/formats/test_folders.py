"""Tables of steps beside videos or images, as labs write them by hand; and what such folders must not do."""

import dataclasses
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from dexvla.episodes.reader import open_episode
from dexvla.formats.base import FormatError, Guess, GuessAbout
from dexvla.formats.csv_files import CSV
from dexvla.formats.folders import IMAGES_CSV, MP4_CSV
from dexvla.formats.mp4 import MP4
from dexvla.formats.outgoing import psnr
from dexvla.formats.registry import recognise
from dexvla.formats.videos import write_video
from dexvla.spec import ImportProfile
from tests.support.episode_data import episode_data
from tests.support.media_data import INSTRUCTION, export_episode, exported

PLAIN = ImportProfile()
FRAMES = [np.full((32, 48, 3), 10 * number, np.uint8) for number in range(12)]
HEADER = "time,state_0,state_1,action_0\n"


def table(path: Path, rows: int = 12, header: str = HEADER) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "".join(f"{row / 10},{row}.5,{-row},{row + 1}\n" for row in range(rows)))


def video(path: Path, frames: int = 12, fps: float = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, FRAMES[:frames], fps=fps)


def images(folder: Path, frames: int = 12, ending: str = "jpg") -> None:
    folder.mkdir(parents=True)
    for number in range(frames):
        Image.fromarray(FRAMES[number]).save(folder / f"frame_{number}.{ending}")


# --- read -------------------------------------------------------------------------------------------------


def test_our_own_tables_and_videos_come_back(tmp_path: Path) -> None:
    data = episode_data(cameras=("cam_high", "cam_wrist"), attributes={"robot": "aloha"})
    episodes = [
        export_episode(tmp_path, data, "one", success=True, paraphrases=("Move it.",), label_source="human"),
        export_episode(tmp_path, episode_data(seed=1, labels=None), "two"),
    ]
    for exporter in (CSV, MP4):
        exported(exporter, tmp_path / "out", *episodes)
    importer = recognise(tmp_path / "out")
    assert importer.name == "mp4-csv"
    assert list(importer.episodes(tmp_path / "out")) == ["one", "two"]
    for episode in episodes:
        with importer.open(tmp_path / "out", episode.name, PLAIN) as source, open_episode(episode.path) as file:
            assert source.qpos.tobytes() == file.qpos.tobytes()
            assert source.action.tobytes() == file.action.tobytes()
            assert source.qvel is not None
            assert source.qvel.tobytes() == file.qvel.tobytes()
            assert source.timestamp is not None
            assert source.timestamp.tolist() == file.timestamp.tolist()
            assert source.fps == 50
            for name, camera in source.cameras.items():
                frames = list(camera.frames())
                assert len(frames) == file.steps
                for step, frame in enumerate(frames):
                    assert isinstance(frame, np.ndarray)
                    near = [psnr(frame, file.frame(name, other)) for other in range(file.steps)]
                    assert int(np.argmax(near)) == step
    with importer.open(tmp_path / "out", "one", PLAIN) as source:
        assert source.instructions == (INSTRUCTION, "Move it.")
        assert (source.success, source.robot, source.label_source) == (True, "aloha", "human")
        assert [part.text for part in source.substeps or ()] == ["Reach for the cube", "Lift the cube"]
    with importer.open(tmp_path / "out", "two", PLAIN) as source:
        assert (source.success, source.substeps, source.label_source) == (None, None, None)


def test_jpeg_and_png_in_one_folder_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    table(tmp_path / "demo" / "steps.csv")
    folder = tmp_path / "demo" / "top"
    images(folder)
    for number in (0, 5):
        Image.fromarray(FRAMES[number]).save(folder / f"frame_{number}.jpg", format="PNG")
    with IMAGES_CSV.open(tmp_path, "demo", PLAIN) as episode:
        camera = episode.cameras["top"]
        assert not camera.jpeg
        for step, found in enumerate(camera.frames()):
            assert isinstance(found, np.ndarray)
            np.testing.assert_allclose(found.astype(int), FRAMES[step], atol=0 if step in (0, 5) else 2)
        assert "camera top: 10 of its 12 images are JPEG: all are kept as pixels" in episode.warnings


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_folders_of_images_become_cameras(tmp_path: Path, ending: str) -> None:
    table(tmp_path / "demo" / "steps.csv")
    images(tmp_path / "demo" / "top", ending=ending)
    images(tmp_path / "demo" / "images" / "wrist", ending=ending)
    assert recognise(tmp_path).name == "images-csv"
    with IMAGES_CSV.open(tmp_path, "demo", PLAIN) as source:
        assert list(source.cameras) == ["top", "wrist"]
        assert source.cameras["top"].jpeg == (ending == "jpg")
        frames = list(source.cameras["top"].frames())
        for number, frame in enumerate(frames):
            stored = (tmp_path / "demo" / "top" / f"frame_{number}.{ending}").read_bytes()
            assert frame == stored if ending == "jpg" else (frame == FRAMES[number]).all()
        assert source.qpos[:2].tolist() == [[0.5, 0], [1.5, -1]]


def test_a_table_may_name_the_image_of_each_step(tmp_path: Path) -> None:
    images(tmp_path / "demo" / "pictures")
    rows = "".join(f"{row},{row},pictures/frame_{11 - row}.jpg\n" for row in range(12))
    (tmp_path / "demo" / "steps.csv").write_text("qpos,action,front\n" + rows)
    with IMAGES_CSV.open(tmp_path, "demo", PLAIN) as source:
        first = next(iter(source.cameras["front"].frames()))
        assert first == (tmp_path / "demo" / "pictures" / "frame_11.jpg").read_bytes()


@pytest.mark.parametrize(
    ("header", "row", "profile", "state", "action"),
    [
        ("observation.state[0],observation.state[1],action[0]", "1,2,3", {}, [1, 2], [3]),
        ("action_10,action_2,qpos", '1,2,"[4, 5.5]"', {}, [4, 5.5], [2, 1]),
        ("j1;j2;cmd", "1;2;3", {"state_entry": "j*", "action_entry": "cmd"}, [1, 2], [3]),
        ("a,b,c", "1,2,3", {"state_entry": "c,a", "action_entry": "b,"}, [3, 1], [2]),
        ("State.waist,state.elbow,action.waist", "1,2,3", {}, [1, 2], [3]),
    ],
)
def test_columns_are_found_by_their_names_or_by_the_profile(
    tmp_path: Path, header: str, row: str, profile: dict[str, str], state: list[float], action: list[float]
) -> None:
    video(tmp_path / "demo" / "top.mp4", 3)
    (tmp_path / "demo" / "steps.csv").write_text("\ufeff" + "\n".join([header, row, row, row]) + "\n")
    with MP4_CSV.open(tmp_path, "demo", ImportProfile.model_validate(profile)) as source:
        assert source.qpos[0].tolist() == state
        assert source.action[0].tolist() == action


def test_a_frame_more_or_less_is_told_and_many_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "near" / "steps.csv", rows=12)
    video(tmp_path / "near" / "top.mp4", 11)
    with MP4_CSV.open(tmp_path, "near", PLAIN) as source:
        assert source.steps == 11
        assert any("11 frames for 12 rows" in warning for warning in source.warnings)
        assert any("begin at the same time" in guess.text for guess in source.guesses)
        assert len(list(source.cameras["top"].frames())) == 11
    video(tmp_path / "near" / "top.mp4", 6)
    with pytest.raises(FormatError, match=r"6 frames, steps\.csv has 12 rows; expected one frame a row"):
        MP4_CSV.open(tmp_path, "near", PLAIN).__enter__()


def test_without_times_the_rate_of_the_videos_is_a_guess(tmp_path: Path) -> None:
    video(tmp_path / "demo" / "top.mp4", 3, fps=12.5)
    (tmp_path / "demo" / "steps.csv").write_text("state,action\n1,2\n3,4\n5,6\n")
    with MP4_CSV.open(tmp_path, "demo", PLAIN) as source:
        assert source.fps == 12.5
        assert Guess(GuessAbout.FPS, "12.5 Hz, the rate of its videos") in source.guesses


# --- broken -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "an empty first line"),
        ("state,action\n", "no rows"),
        ("state,action\n1,2\n3\n", "row 3 has 1 cells, expected 2"),
        ("state,action\n1,2\n3,up\n", "row 3, column action: 'up', expected a number"),
        ("state,action\n1,nan\n", "row 2 holds a value that is not finite"),
        ("state,action\n1,1e60\n", "row 2 holds a value that is not finite or no float32"),
        ("state,action\n1,\n", "row 2, column action: '', expected a number"),
        ('state,action\n1,"[1, 2]"\n1,"[1]"\n', "row 3 holds 1 values, expected 2"),
        ("state,speed\n1,2\n", "no columns of the action; it has state, speed. Say which with action_entry"),
        ('state,action\n1,"2\n', "not a CSV table"),
        ("state,action\n1,2\n" + "a" * 2_000_000, "not a CSV table"),
    ],
)
def test_a_broken_table_is_named_with_row_and_column(tmp_path: Path, text: str, found: str) -> None:
    video(tmp_path / "demo" / "top.mp4", 2)
    (tmp_path / "demo" / "steps.csv").write_text(text)
    with pytest.raises(FormatError) as refused:
        MP4_CSV.open(tmp_path, "demo", PLAIN).__enter__()
    assert found in str(refused.value)
    assert "steps.csv" in str(refused.value)


def test_two_tables_of_one_episode_are_refused(tmp_path: Path) -> None:
    video(tmp_path / "demo" / "top.mp4")
    for name in ("a", "b"):
        table(tmp_path / "demo" / f"{name}.csv")
    with pytest.raises(FormatError, match=r"two tables, a\.csv and b\.csv"):
        MP4_CSV.episodes(tmp_path)


def test_a_video_that_breaks_off_is_named(tmp_path: Path) -> None:
    table(tmp_path / "demo" / "steps.csv")
    path = tmp_path / "demo" / "top.mp4"
    video(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start:] = b"\xff" * (len(content) - start)
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"top\.mp4"), MP4_CSV.open(tmp_path, "demo", PLAIN) as source:
        list(source.cameras["top"].frames())
    path.write_bytes(b"no video at all")
    with pytest.raises(FormatError, match=r"top\.mp4: not a readable video"):
        MP4_CSV.open(tmp_path, "demo", PLAIN).__enter__()


def test_images_of_another_size_are_named(tmp_path: Path) -> None:
    table(tmp_path / "demo" / "steps.csv")
    images(tmp_path / "demo" / "top")
    Image.fromarray(FRAMES[0][:16]).save(tmp_path / "demo" / "top" / "frame_7.jpg")
    with IMAGES_CSV.open(tmp_path, "demo", PLAIN) as source:
        frames = source.cameras["top"].frames()
        assert len([next(frames) for _ in range(7)]) == 7
        with pytest.raises(FormatError, match=r"frame_7\.jpg: 16 x 48 JPEG, expected 32 x 48 JPEG"):
            next(frames)


# --- hostile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["../../secret.jpg", "/etc/secret.jpg", "..\\secret.jpg", "pictures/../../x.jpg"])
def test_a_table_that_names_a_file_outside_is_refused(tmp_path: Path, cell: str) -> None:
    source = tmp_path / "source"
    images(source / "demo" / "pictures")
    Image.fromarray(FRAMES[0]).save(tmp_path / "secret.jpg")
    (source / "demo" / "steps.csv").write_text(f"state,action,front\n1,2,{cell}\n")
    with pytest.raises(FormatError, match=r"column front names .* expected a file inside"):
        IMAGES_CSV.open(source, "demo", PLAIN).__enter__()


@pytest.mark.parametrize("what", ["table", "video", "image", "named"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, what: str) -> None:
    source = tmp_path / "source" / "demo"
    table(source / "steps.csv")
    importer = MP4_CSV if what in ("table", "video") else IMAGES_CSV
    if what == "named":
        (source / "steps.csv").write_text("state,action,front\n1,2,top/link.jpg\n")
    if importer is MP4_CSV:
        video(source / "top.mp4")
    else:
        images(source / "top")
    moved = {"table": source / "steps.csv", "video": source / "top.mp4"}.get(what, source / "top" / "frame_3.jpg")
    outside = tmp_path / moved.name
    moved.rename(outside)
    (source / "top" / "link.jpg" if what == "named" else moved).symlink_to(outside)
    with pytest.raises(FormatError, match="lies outside of"):
        importer.open(tmp_path / "source", "demo", PLAIN).__enter__()


def test_an_image_that_declares_gigabytes_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "demo" / "steps.csv")
    images(tmp_path / "demo" / "top", ending="png")
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in parts:
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    (tmp_path / "demo" / "top" / "frame_0.png").write_bytes(content)
    with pytest.raises(FormatError, match=r"frame_0\.png: .*(60000 x 60000|limit|decompression bomb)"):
        IMAGES_CSV.open(tmp_path, "demo", PLAIN).__enter__()


def test_a_video_of_absurd_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    table(tmp_path / "demo" / "steps.csv")
    path = tmp_path / "demo" / "top.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 8192, 4104, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(8192, 4104, "yuvj420p")))
        container.mux(stream.encode(None))
    with pytest.raises(FormatError, match=r"top\.mkv: .*(declares 4104 x 8192|more than 33554432) pixels"):
        MP4_CSV.open(tmp_path, "demo", PLAIN).__enter__()


def test_a_playlist_that_calls_itself_a_video_opens_nothing(tmp_path: Path) -> None:
    table(tmp_path / "demo" / "steps.csv")
    video(tmp_path / "secret.mp4")
    playlists = {
        "concat.mp4": f"ffconcat version 1.0\nfile {tmp_path / 'secret.mp4'}\n",
        "list.mkv": f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path / 'secret.mp4'}\n#EXT-X-ENDLIST\n",
    }
    for name, text in playlists.items():
        path = tmp_path / "demo" / name
        path.write_text(text)
        with pytest.raises(FormatError, match=f"{name}: not a readable video"):
            MP4_CSV.open(tmp_path, "demo", PLAIN).__enter__()
        path.unlink()


def test_an_empty_folder_is_none_of_these(tmp_path: Path) -> None:
    for importer in (MP4_CSV, IMAGES_CSV):
        assert not importer.recognises(tmp_path)
        assert not importer.recognises(tmp_path / "missing")
        with pytest.raises(FormatError, match="expected a folder an episode with one CSV table"):
            importer.episodes(tmp_path)


def test_steps_of_other_rates_than_the_table_of_episodes_allows_are_refused(tmp_path: Path) -> None:
    exported(CSV, tmp_path / "out", export_episode(tmp_path, dataclasses.replace(episode_data(cameras=("cam",)))))
    exported(MP4, tmp_path / "out", export_episode(tmp_path / "again", episode_data(cameras=("cam",)), "one"))
    path = tmp_path / "out" / "episodes.csv"
    path.write_text(path.read_text().replace(",50.0,", ",1e9,"))
    with pytest.raises(FormatError, match=r"episodes\.csv: row 2, fps 1e\+09, expected"):
        MP4_CSV.open(tmp_path / "out", "one", PLAIN).__enter__()
