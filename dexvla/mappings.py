"""Files that people write, which hold values by name: specs, options, settings. YAML, or JSON where the name ends so.

JSON is nearly YAML, but not quite: to YAML some characters that a JSON text may hold are line breaks (U+0085) or none
at all.
"""

import json
from pathlib import Path
from typing import Any

from dexvla.errors import UserError


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The values by their names. what: that is expected in the file, for people.

    Raises UserError for a file that cannot be read or holds something else.
    """
    import yaml

    is_json = path.suffix.lower() == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if is_json else yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # among the latter what is no JSON, and no UTF-8
        raise UserError(f"{path}: not {'JSON' if is_json else 'YAML'}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"{path}: expected {what}, found {type(found).__name__}")
    return found
