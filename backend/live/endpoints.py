"""/api/live over HTTP: what operators ask of a robot while they watch it. Its sockets are in `sockets`."""

from fastapi import APIRouter

from backend.access.dependencies import Operator, Parts, Viewer
from backend.live import demo, service
from backend.live.schemas import DemoOut, PolicyServersOut, RolloutAsk
from dexvla.live.messages import InstructionIn, LiveState, RecordIn, SaveIn, SceneIn, TasksOut

router = APIRouter(prefix="/api/live", tags=["live"])


@router.get("/{robot}/tasks")
def get_tasks(me: Viewer, studio: Parts, robot: str) -> TasksOut:
    """Tasks that a simulated robot can set up, with the fields of their options; none of another robot."""
    return service.tasks(studio, robot)


@router.get("/demo")
def get_demo(me: Viewer) -> DemoOut:
    """The demo checkpoint that comes with the studio, and what it was trained to do."""
    return demo.demo()


@router.get("/policy-servers")
def get_policy_servers(me: Operator, studio: Parts) -> PolicyServersOut:
    """What `url` of a rollout may name; everything else is refused."""
    return PolicyServersOut(servers=list(studio.settings.policy_servers))


@router.post("/{robot}/prepare")
def prepare_demo(me: Operator, studio: Parts, robot: str) -> LiveState:
    """The demo may be asked for soon: its policy is loaded, and let go of again after some minutes without use."""
    return service.prepare(me, studio, robot)


@router.post("/{robot}/rollout")
def start_rollout(me: Operator, studio: Parts, robot: str, body: RolloutAsk) -> LiveState:
    """Let a policy act as soon as it is loaded, as long as a page of yours watches over it (the control socket)."""
    return service.rollout(me, studio, robot, body)


@router.post("/{robot}/pause")
def pause_rollout(me: Operator, studio: Parts, robot: str) -> LiveState:
    return service.pause(me, studio, robot)


@router.post("/{robot}/resume")
def resume_rollout(me: Operator, studio: Parts, robot: str) -> LiveState:
    return service.resume(me, studio, robot)


@router.post("/{robot}/end")
def end_rollout(me: Operator, studio: Parts, robot: str) -> LiveState:
    return service.end(me, studio, robot)


@router.post("/{robot}/instruction")
def change_instruction(me: Operator, studio: Parts, robot: str, body: InstructionIn) -> LiveState:
    """Tell the policy that acts something else."""
    return service.instruct(me, studio, robot, body)


@router.post("/{robot}/scene")
def set_scene(me: Operator, studio: Parts, robot: str, body: SceneIn) -> LiveState:
    """Put a simulated robot into the start state of a task and a seed."""
    return service.scene(me, studio, robot, body)


@router.post("/{robot}/record")
def begin_recording(me: Operator, studio: Parts, robot: str, body: RecordIn) -> LiveState:
    return service.begin_recording(me, studio, robot, body)


@router.post("/{robot}/mark")
def mark_substep(me: Operator, studio: Parts, robot: str) -> LiveState:
    """A substep begins with the step that is recorded next: a mark for who labels the episode."""
    return service.mark(me, studio, robot)


@router.post("/{robot}/save")
def save_recording(me: Operator, studio: Parts, robot: str, body: SaveIn) -> LiveState:
    """End the recording and add it to its dataset."""
    return service.save(me, studio, robot, body)


@router.post("/{robot}/discard")
def discard_recording(me: Operator, studio: Parts, robot: str) -> LiveState:
    return service.discard(me, studio, robot)
