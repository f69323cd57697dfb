"""What page, API and robot host say to each other while a robot acts. See docs/decisions/live.md.

Three sockets a robot, the same on both legs (page - API: /api/live/{robot}/..., API - host: /live/...); the API relays
them without looking inside, after it has checked who asks:

state    host -> page   one JSON `LiveState` at once, after every change and at least ten times a second, with the
                        telemetry since the last one. Anyone signed in.
video    both ways      page: JSON `Watch` (which cameras) and `Ack`; host: binary frames, see `FRAME_HEADER`. A camera
                        has two credits: the host sends its newest frame while fewer than two are unacknowledged,
                        and never queues an older one. Anyone signed in.
control  both ways      page: JSON `Drive` (while driving) or `Pulse` (while watching over a policy), at least every
                        50 ms; host: JSON `Echo` to each, and `Refusal` where a message was not carried out. Operators.
                        One at a time holds a robot; the next one is sent a `Refusal` with the holder's name and is
                        closed (4409). The same session takes over from its older connection.

Everything else is HTTP, page - API: POST /api/live/{robot}/{verb}, API - host: POST /live/{verb}, answered with the
`LiveState` after it; verbs and bodies: prepare (no body: the demo may be asked for soon), rollout (`RolloutIn`), pause,
resume, end (no body), instruction (`InstructionIn`), scene (`SceneIn`), record (`RecordIn`), mark (no body), save
(`SaveIn`), discard (no body). Errors are {"error": "..."}: 409 where something or somebody is in the way, 422 for what
makes no sense. A rollout is answered at once; how it loads comes as `PolicyOut.loading`, what goes wrong meanwhile as
`LiveState.failure`. Stop and arm stay where they are (dexvla.live.status): a stop must not depend on anything of this
page. The API adds `by`, the person's name, in the header X-Studio-By, and on the control socket also X-Studio-Session,
which tells two pages of one person apart.
"""

from enum import StrEnum
from struct import Struct
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from dexvla.live.status import HostStatus
from dexvla.spec import OptionValue, TaskChoice
from dexvla.spec.fields import TaskDescription
from dexvla.spec.inputs import In, Title

# number, ms since the scene looked like this when the host sent it (float), length of the camera's name (utf-8);
# the name and the JPEG follow. Little endian.
FRAME_HEADER = Struct("<IfH")
CREDITS = 2
HOLD_MS = 150  # silence on the control socket after which the robot holds
RECLUTCH_MS = 500  # silence after which the dead-man must be let go and pressed again
# A hand's last sign may be this old while the robot moves; then the dead-man must be let go and pressed again. Above
# the longest wait for a keyboard's first repeat that the page accepts (frontend/src/features/live/evidence.ts).
EVIDENCE_MS = 1000

Finite = Annotated[float, Field(allow_inf_nan=False)]
Twist = Annotated[tuple[Finite, Finite, Finite], Field(description="x, y, z")]


class Mode(StrEnum):
    """What commands the robot now. idle: nothing, it holds. policy: a checkpoint; paused: a checkpoint that waits, the
    robot holds; drive: a person."""

    IDLE = "idle"
    POLICY = "policy"
    PAUSED = "paused"
    DRIVE = "drive"


# --- commands over HTTP -------------------------------------------------------------------------------------------


class SceneIn(In, TaskChoice):
    """A simulated robot's scene: reset to this task and seed. Refused while something commands the robot."""

    seed: int = Field(ge=0, lt=2**32)


class RolloutIn(In):
    """Let a checkpoint act. The API resolves checkpoint_id to `path` (page -> API: checkpoint_id or demo; API -> host:
    path or url)."""

    checkpoint_id: str | None = Field(None, max_length=64, description="A checkpoint of the studio")
    demo: bool = Field(False, description="The demo checkpoint that comes with the studio")
    path: str | None = Field(None, max_length=4096, description="Set by the API alone")
    url: str | None = Field(None, max_length=512, description="A policy server (ws://HOST:PORT) instead")
    instruction: Title = Field(max_length=400)
    execute_steps: int | None = Field(None, ge=1, le=1000, description="Actions executed of a chunk; default 16")
    scene: SceneIn | None = Field(None, description="A simulator's: set it up first, and act on its instruction")
    instead: bool = Field(False, description="In place of a policy that is there already, acting or paused")


class InstructionIn(In):
    instruction: Title = Field(max_length=400)


class RecordIn(In):
    dataset_id: str = Field(max_length=64)
    instruction: Title = Field(max_length=400)


class SaveIn(In):
    success: bool | None = Field(None, description="Did the task succeed? None: not judged")


# --- the control socket -------------------------------------------------------------------------------------------


class ArmDrive(In):
    """Velocities of one gripper's pinch point in the robot's frame, m/s and rad/s about its own axes; gripper: -1
    closes, 1 opens, at the host's speed. Velocities, not steps: a message that is lost means to stop."""

    linear: Twist = (0.0, 0.0, 0.0)
    angular: Twist = (0.0, 0.0, 0.0)
    gripper: Finite = Field(0.0, ge=-1, le=1)


class Drive(In):
    """seq: 1, 2, ... of this socket; sent: the page's performance.now(), ms; epoch: of the newest LiveState.

    evidence_ms: when this was sent, the age of the newest sign that the hand is still there: a key's press, repeat or
    release, as the system dates it. Velocities other than zero are carried out only while it is at most EVIDENCE_MS,
    then a `Refusal` (reclutch) comes. A client that leaves it out moves the robot for at most EVIDENCE_MS at a stretch.
    """

    type: Literal["drive"] = "drive"
    seq: int = Field(ge=1)
    sent: Finite
    epoch: int
    deadman: bool = Field(description="The operator holds the dead-man key and the page is in front")
    evidence_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    left: ArmDrive = ArmDrive()
    right: ArmDrive = ArmDrive()


class Pulse(In):
    """The page of who watches over a policy is in front and alive. Without it the robot holds and the policy pauses."""

    type: Literal["pulse"] = "pulse"
    seq: int = Field(ge=1)
    sent: Finite
    epoch: int


class Echo(BaseModel):
    """applied: ms from receiving a Drive to the first control step that used it; None where nothing moved."""

    type: Literal["echo"] = "echo"
    seq: int
    sent: float
    applied: float | None = None


class Refusal(BaseModel):
    type: Literal["refusal"] = "refusal"
    seq: int | None
    code: Literal["malformed", "stale", "out_of_order", "epoch", "stopped", "busy", "held_by_other", "reclutch"]
    message: str


# --- the video socket, page -> host -------------------------------------------------------------------------------


class Watch(In):
    type: Literal["watch"] = "watch"
    cameras: list[Annotated[str, Field(max_length=64)]] = Field(max_length=32)


class Ack(In):
    type: Literal["ack"] = "ack"
    camera: str = Field(max_length=64)
    number: int = Field(ge=0)


# --- the state socket ---------------------------------------------------------------------------------------------


class Reasoning(BaseModel):
    """What the policy says at `step`; done: false while it is still being generated."""

    step: int
    text: str
    done: bool


class Progress(BaseModel):
    """Something that takes seconds. attempt: 2 where it is tried again by itself."""

    phase: str
    seconds: float = Field(description="Since all of it began")
    typical: float = Field(description="How long it takes on a machine with two cores, seconds")
    attempt: int = 1
    trouble: str | None = Field(None, description="Why the attempt before this one failed")


class PolicyOut(BaseModel):
    """The policy that acts or waits. latency_ms: from observation to chunk in hand, of the last chunk."""

    name: str
    checkpoint_id: str | None
    instruction: str
    reasoning: Reasoning | None = None
    latency_ms: float | None = None
    chunks: int = 0
    late_steps: int = Field(0, description="Steps in which the robot held because no chunk had come")
    refused: str | None = Field(None, description="Why the newest chunk was refused")
    ready: bool = Field(description="False while the policy's process is being started")
    loading: Progress | None = Field(None, description="Until its first chunk is there")


class Failure(BaseModel):
    """A rollout that never acted, until the next one begins. reason: for people, with what to do."""

    demo: bool
    reason: str


class RecordingOut(BaseModel):
    dataset_id: str
    steps: int
    marks: int = Field(0, description="How often somebody said that a substep begins")
    seconds: float
    dropped: dict[str, int] = Field(description="Frames of each camera that could not be kept")
    saving: bool = False
    ended: bool = Field(False, description="Nothing is added any more: it waits to be saved or discarded")
    note: str | None = Field(None, description="Why nothing is added any more, or that nobody is at the controls")


class SavedOut(BaseModel):
    """The last recording that was saved. error: why it could not be added to the dataset; the file is kept."""

    episode_id: str | None
    dataset_id: str
    steps: int
    error: str | None = None


class SceneOut(BaseModel):
    """What a simulator knows: which scene it shows, and how the task stands."""

    task: str
    options: dict[str, OptionValue] = Field(description="Of the task, all of them; empty where it has none")
    seed: int
    instruction: str
    reward: float
    success: bool
    wrong: bool | None = Field(None, description="Another object than the named one was lifted")
    trouble: str | None = Field(None, description="Why the robot cannot say how its task stands, for people")


class TasksOut(BaseModel):
    """GET /live/tasks: what a simulated robot can set up, empty for another one. It does not change while it runs.

    arms: how many of the robot a person drives with the keys.
    """

    tasks: list[TaskDescription]
    arms: int = Field(2, ge=1, le=2)


class Samples(BaseModel):
    """Telemetry of consecutive control steps: N rows. chunk: the newest predicted chunk, sent once."""

    step: list[int]
    time: list[float] = Field(description="Seconds of the host's monotonic clock")
    state: list[list[float]] = Field(description="(N, S), the robot's units")
    action: list[list[float]] = Field(description="(N, A), what was sent")
    chunk_step: int | None = None
    chunk_steps: int | None = Field(None, description="T: how many steps the newest chunk has")
    chunk: list[list[float]] | None = Field(None, description="(T, A) from chunk_step on, thinned evenly to 50 rows")


class LiveState(BaseModel):
    """Everything a live page shows but frames."""

    type: Literal["state"] = "state"
    status: HostStatus
    mode: Mode
    why: str | None = Field(None, description="Why the robot holds although somebody wants it to move, for people")
    holder: str | None = Field(None, description="Who holds the control socket")
    policy: PolicyOut | None = None
    failure: Failure | None = None
    building: Progress | None = Field(None, description="A scene that is being set up")
    real_time: float | None = Field(
        None, description="Seconds of a simulated robot's time in one of ours, lately: it waits for a slow policy"
    )
    recording: RecordingOut | None = None
    saved: SavedOut | None = None
    scene: SceneOut | None = None
    joint_names: list[str]
    samples: Samples | None = None
    not_recorded: list[str] = Field(
        default_factory=list,
        description="In the answer to a request of which something could not be written down: what, in sentences",
    )
    audit_entry: str | None = Field(
        None,
        description="Where the last of them is about the audit log: the entry's id, for GET /api/audit/{id}/written",
    )
