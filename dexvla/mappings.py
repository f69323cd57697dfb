"""Files that people write, which hold values by name: specs, options, settings. YAML, or JSON, which is YAML."""

from pathlib import Path
from typing import Any

from dexvla.errors import UserError


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The values by their names. what: that is expected in the file, for people.

    Raises UserError for a file that cannot be read or holds something else.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"{path}: expected {what}, found {type(found).__name__}")
    return found
