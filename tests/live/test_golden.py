"""The messages of page, API and robot host, by the byte: tests/data/live is read here and in the page's golden.test.ts.

Who changes a message changes its bytes there, with `python tests/live/test_golden.py`, and raises
dexvla.live.version.PROTOCOL where a side of the version before would misunderstand it.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from dexvla.live.hosting import Announcement, DatasetFacts, HandedIn, Handover, Received, Welcome
from dexvla.live.messages import (
    FRAME_HEADER,
    Ack,
    ArmDrive,
    Drive,
    Echo,
    Failure,
    LiveState,
    Mode,
    PolicyOut,
    Progress,
    Pulse,
    Reasoning,
    RecordingOut,
    Refusal,
    Samples,
    SavedOut,
    Watch,
)
from dexvla.live.status import ArmIn, HostCamera, HostStatus, RobotState, StopIn
from dexvla.live.version import PROTOCOL

FOLDER = Path(__file__).parents[1] / "data" / "live"
STATUS = HostStatus(
    state=RobotState.STOPPED,
    epoch=7,
    since=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    stopped_by="Ada",
    reason="the cube is on the floor",
    views=[HostCamera(name="overview", height=480, width=640)],
    cameras=[HostCamera(name="cam_high", height=480, width=640, fps=14.5)],
    control_hz=50.0,
    tick_hz=49.5,
    late_ms=1.25,
    task="transfer_cube",
    pid=4711,
)
MESSAGES: dict[str, BaseModel] = {
    "state": LiveState(
        status=STATUS,
        mode=Mode.PAUSED,
        why="nobody watches over the policy",
        holder="Grace",
        policy=PolicyOut(
            name="pick-2",
            checkpoint_id="c1",
            instruction="Lift the red cube.",
            reasoning=Reasoning(step=120, text="Close the gripper.", done=True),
            latency_ms=81.5,
            chunks=3,
            late_steps=2,
            ready=True,
            loading=Progress(phase="loading", seconds=2.5, typical=20.0),
        ),
        failure=Failure(demo=True, reason="no memory is left; close something"),
        building=Progress(phase="cameras", seconds=1.0, typical=4.0, attempt=2, trouble="no OpenGL"),
        real_time=0.5,
        recording=RecordingOut(dataset_id="d1", steps=250, marks=2, seconds=5.0, dropped={"cam_high": 1}),
        saved=SavedOut(episode_id="e1", dataset_id="d1", steps=400),
        joint_names=["left_waist", "left_gripper"],
        samples=Samples(
            step=[10, 11],
            time=[0.2, 0.22],
            state=[[0.5, 1.0], [0.25, 1.0]],
            action=[[0.5, 0.75], [0.25, 0.5]],
            chunk_step=10,
            chunk_steps=100,
            chunk=[[0.5, 1.0]],
        ),
        not_recorded=["The audit log does not have this yet."],
        audit_entry="a1",
    ),
    "drive": Drive(
        seq=3,
        sent=1234.5,
        epoch=7,
        deadman=True,
        evidence_ms=20.5,
        left=ArmDrive(linear=(0.05, 0.0, -0.05), angular=(0.0, 0.5, 0.0), gripper=-1.0),
    ),
    "pulse": Pulse(seq=4, sent=1300.25, epoch=7),
    "echo": Echo(seq=3, sent=1234.5, applied=12.5),
    "refusal": Refusal(seq=3, code="reclutch", message="let go and press again"),
    "watch": Watch(cameras=["cam_high", "Kamera ä"]),
    "ack": Ack(camera="Kamera ä", number=70_000),
    "stop": StopIn(by="Ada", reason="smoke"),
    "arm": ArmIn(by="Ada"),
    "announcement": Announcement(kind="aloha_sim_live", address="10.0.0.7:8100", status=STATUS),
    "welcome": Welcome(token="c0ffee"),
    "dataset": DatasetFacts(
        name="cups", filled=True, action_dim=14, state_dim=14, cameras=["cam_high"], render_profile=None, fps=50.0
    ),
    "handover": Handover(dataset_id="d1", by="Ada", size=1_048_577, sha256="ab" * 32),
    "received": Received(received=1_048_576),
    "handed_in": HandedIn(episode_id="e1"),
}
NUMBER, AGE, CAMERA, JPEG = 70_000, 12.5, "Kamera ä", b"\xff\xd8\x00\xff\xd9"


def frame() -> bytes:
    name = CAMERA.encode()
    return FRAME_HEADER.pack(NUMBER, AGE, len(name)) + name + JPEG


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_written_and_read_byte_by_byte(name: str) -> None:
    golden = (FOLDER / f"{name}.json").read_bytes()
    message = MESSAGES[name]
    assert message.model_dump_json().encode() == golden
    assert type(message).model_validate_json(golden) == message


def test_a_frame_is_written_and_read_byte_by_byte() -> None:
    golden = bytes.fromhex((FOLDER / "frame.hex").read_text())
    assert frame() == golden
    number, age, length = FRAME_HEADER.unpack_from(golden)
    end = FRAME_HEADER.size + length
    assert (number, age, golden[FRAME_HEADER.size : end].decode(), golden[end:]) == (NUMBER, AGE, CAMERA, JPEG)


def test_the_bytes_are_those_of_this_version() -> None:
    assert json.loads((FOLDER / "announcement.json").read_bytes())["protocol"] == PROTOCOL
    assert {file.name for file in FOLDER.iterdir()} == {"frame.hex", *(f"{name}.json" for name in MESSAGES)}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, message in MESSAGES.items():
        (FOLDER / f"{name}.json").write_text(message.model_dump_json())
    (FOLDER / "frame.hex").write_text(frame().hex())
