"""The address under which browsers reach the studio: scheme, host and port, as a browser writes an Origin."""

import re
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*\.?|\[[0-9a-f:.]+\]")
_EXPECTED = "expected scheme, host and perhaps a port, such as https://studio.example.org"


def public_address(value: str) -> str:
    """As an Origin: lower case, without the scheme's usual port and without a slash. Raises ValueError in words."""
    value = value.strip()
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{value[:100]!r} is not an address ({error}); {_EXPECTED}") from None
    if parts.scheme not in _PORTS:
        raise ValueError(f"{value[:100]!r} does not begin with http:// or https://; {_EXPECTED}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the address names a user; browsers' pages come from a host alone; {_EXPECTED}")
    if parts.path not in {"", "/"}:
        raise ValueError(
            f"the address has the path {parts.path[:100]!r}, and the studio is served at the root of its host alone; "
            "give it a host name or a port of its own"
        )
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        raise ValueError(f"the address has a query or a fragment; {_EXPECTED}")
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    if not _NAME.fullmatch(host):
        raise ValueError(f"{host[:100]!r} is not a host name in ASCII; {_EXPECTED}")
    return f"{parts.scheme}://{host}" if port in {None, _PORTS[parts.scheme]} else f"{parts.scheme}://{host}:{port}"
