"""Names of people's things as folders and files may have them."""

import re


def file_name(name: str) -> str:
    """The name of a run as a folder or a spec may have it: letters, digits, dot, underscore, hyphen."""
    return re.sub(r"[^A-Za-z0-9._\-]+", "-", name)
