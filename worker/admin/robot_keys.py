"""Keys of robot hosts on other machines, from the command line, by whoever may read the data folder."""

from backend.audit.service import record
from backend.core.settings import Settings
from backend.robot_hosts import keys
from dexvla.errors import UserError
from worker.admin.users import database_of


def new_key(settings: Settings, robot: str) -> str:
    """Raises UserError for what is no name of a robot, or a folder without a studio's data."""
    with database_of(settings).transaction() as db:
        record(db, None, "robot.key", robot, by="command line")
        try:
            return keys.make(settings.folder.secrets, robot)
        except ValueError as error:
            raise UserError(str(error)) from None


def remove_key(settings: Settings, robot: str) -> None:
    """Raises UserError where there is none."""
    with database_of(settings).transaction() as db:
        record(db, None, "robot.key_removed", robot, by="command line")
        try:
            found = keys.remove(settings.folder.secrets, robot)
        except ValueError as error:
            raise UserError(str(error)) from None
        if not found:
            raise UserError(f"robot {robot} has no key")
