"""What operators ask of a robot over HTTP: checked here, carried out by the robot's host, written down here."""

from typing import Any

from pydantic import BaseModel

from backend.audit.service import record
from backend.checkpoints import repository as checkpoints
from backend.checkpoints.files import checkpoint_folder, checkpoint_outline
from backend.checkpoints.names import checkpoint_name
from backend.checkpoints.whole import require_manifest
from backend.core.db import new_id, utc_now
from backend.core.errors import InvalidError
from backend.core.ledger import not_yet
from backend.datasets import repository as datasets
from backend.evaluations import fit
from backend.identity.actor import Actor
from backend.live.schemas import RolloutAsk
from backend.robots.host_client import UnknownRequestError
from backend.robots.kinds import kinds
from backend.robots.service import host_of
from backend.studio.context import Studio
from dexvla.live.messages import InstructionIn, LiveState, RecordIn, SaveIn, SceneIn, TasksOut
from dexvla.spec import TaskChoice

BY_HEADER = "X-Studio-By"
_SECONDS = 20.0  # an episode is written
_SCENE_SECONDS = 180.0  # a busy machine builds a scene; the host gives it up earlier, and tells how far it is meanwhile
_NOTE_SECONDS = 1.0  # how long the audit log may take to be in the answer


def rollout(me: Actor, studio: Studio, robot: str, body: RolloutAsk) -> LiveState:
    """Let a policy act. Raises InvalidError for a checkpoint that is gone or does not fit the robot, and for a policy
    server that the administrator did not list."""
    if body.url is not None and not studio.settings.allows_policy_server(body.url):
        listed = ", ".join(studio.settings.policy_servers) or "none"
        message = (
            f"The administrator allows these policy servers: {listed}. STUDIO_POLICY_SERVERS lists them (HOST:PORT)."
        )
        raise fit.wrong("url", message)
    path = None if body.checkpoint_id is None else _checkpoint(studio, robot, body.checkpoint_id)
    asked = body.for_host(path)
    detail = body.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return _ask(me, studio, robot, "rollout", asked, **detail)


def prepare(me: Actor, studio: Studio, robot: str) -> LiveState:
    """A page is open on which the demo may be asked for. Not audited: nothing acts."""
    _, host = host_of(studio, robot)
    return host.ask("POST", "/live/prepare", LiveState, headers={BY_HEADER: me.name}, seconds=_SECONDS)


def pause(me: Actor, studio: Studio, robot: str) -> LiveState:
    return _ask(me, studio, robot, "pause")


def resume(me: Actor, studio: Studio, robot: str) -> LiveState:
    return _ask(me, studio, robot, "resume")


def end(me: Actor, studio: Studio, robot: str) -> LiveState:
    return _ask(me, studio, robot, "end")


def instruct(me: Actor, studio: Studio, robot: str, body: InstructionIn) -> LiveState:
    return _ask(me, studio, robot, "instruction", body, instruction=body.instruction)


def scene(me: Actor, studio: Studio, robot: str, body: SceneIn) -> LiveState:
    return _ask(me, studio, robot, "scene", body, **body.model_dump(mode="json"))


def begin_recording(me: Actor, studio: Studio, robot: str, body: RecordIn) -> LiveState:
    """Raises InvalidError for a dataset that does not exist."""
    with studio.db.transaction(write=False) as own:
        if datasets.by_id(own, body.dataset_id) is None:
            raise fit.wrong("dataset_id", "There is no such dataset; choose another one.")
    return _ask(me, studio, robot, "record", body, **body.model_dump(mode="json"))


def mark(me: Actor, studio: Studio, robot: str) -> LiveState:
    """Not audited, and without the database's lock: it comes while somebody drives, and has to be exact."""
    _, host = host_of(studio, robot)
    return host.ask("POST", "/live/mark", LiveState, headers={BY_HEADER: me.name}, seconds=_SECONDS)


def save(me: Actor, studio: Studio, robot: str, body: SaveIn) -> LiveState:
    return _ask(me, studio, robot, "save", body, success=body.success)


def discard(me: Actor, studio: Studio, robot: str) -> LiveState:
    return _ask(me, studio, robot, "discard")


def tasks(studio: Studio, robot: str) -> TasksOut:
    """What the robot can set up, as its host says: its plug-in need not be installed here. A host of an earlier version
    does not say."""
    _, host = host_of(studio, robot)
    try:
        return host.ask("GET", "/live/tasks", TasksOut, seconds=_SECONDS)
    except UnknownRequestError:
        return TasksOut(tasks=[])


def _ask(me: Actor, studio: Studio, robot: str, verb: str, body: BaseModel | None = None, **detail: Any) -> LiveState:
    """The host is asked first; what it did is then written down beside, and is the answer whatever becomes of that."""
    _, host = host_of(studio, robot)
    seconds = _SCENE_SECONDS if verb == "scene" else _SECONDS
    state = host.ask("POST", f"/live/{verb}", LiveState, body, headers={BY_HEADER: me.name}, seconds=seconds)
    now = utc_now()
    entry = new_id()
    written = studio.ledger.write(lambda db: record(db, me, f"live.{verb}", robot, at=now, entry_id=entry, **detail))
    missing = not_yet(written, seconds=_NOTE_SECONDS)
    return state.model_copy(update={"not_recorded": missing, "audit_entry": entry if missing else None})


def _checkpoint(studio: Studio, robot: str, checkpoint_id: str) -> str:
    """Path of the checkpoint, after checking that it fits the robot."""
    found_robot, _ = host_of(studio, robot)
    if found_robot.status.elsewhere:
        raise fit.wrong(
            "checkpoint_id",
            f"The host of {robot} is on another machine and has no checkpoints of this studio. Serve this one there "
            "(dexvla serve) and choose the policy server instead.",
        )
    with studio.db.transaction(write=False) as db:
        found = checkpoints.checkpoint(db, checkpoint_id)
        if found is None:
            raise fit.wrong("checkpoint_id", "There is no such checkpoint.")
        row, run = found
        if row.deleted_at is not None:
            message = f"The files of {checkpoint_name(run, row)} were deleted; choose another checkpoint."
            raise fit.wrong("checkpoint_id", message)
        outline = checkpoint_outline(studio, row)
        require_manifest(studio, row, run)
    policy = fit.policy_of(outline)
    kind = found_robot.kind.removesuffix("_live")
    if any(known.name == kind for known in kinds()):  # a robot of another machine's plug-in is asked by its host alone
        try:
            fit.fits_simulator(policy, kind, TaskChoice())
        except InvalidError as error:
            # Another robot may fit it; that recorded episodes can be replayed is no help here.
            message = error.message.split("; replay")[0] + "."
            raise fit.wrong("checkpoint_id", message) from error
    return str(checkpoint_folder(studio, row))
