"""Values that no client of ours sends, and ways to put one into a request that is otherwise in order."""

import copy
import json
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

MAX = 2**63 - 1


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


# In a JSON body. Those of 64 bits, of 60 levels and of unseen characters reach the code behind the screening.
VALUES: list[Any] = [
    "\ud800",
    "a\udfffb",
    "\x00",
    "a\x00b",
    "\x1b[31m",
    "\x85",
    "\u202egnp",
    "\u2066",
    "\u200b",
    "\ufeff",
    "\u3164",
    "",
    " ",
    "\n",
    "a" * 5000,
    "\U0010ffff",
    "../../../etc/passwd",
    "%s%n{0}${x}",
    "9" * 40,
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-23:59",
    "10000-01-01T00:00:00Z",
    "2026-02-30",
    "nan",
    MAX,
    MAX + 1,
    -MAX - 1,
    -MAX - 2,
    2**31,
    2**53 + 1,
    10**400,
    -1,
    0,
    1e308,
    -1e308,
    5e-324,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    True,
    None,
    [],
    {},
    [[]],
    {"": ""},
    {"\ud800": 1},
    {"\x00": 1},
    {"__class__": {"__init__": 1}},
    _deep(50),
    _deep(900),
    [None] * 3000,
    {f"k{number}": number for number in range(3000)},
]
# In a path or a query, as they are written there.
WRITTEN = [
    "%00",
    "a%00b",
    "%ff%fe",
    "%ed%a0%80",
    "%C0%80",
    "%F4%90%80%80",
    "%",
    "%zz",
    "%E2%80%AEgnp",
    "%0d%0aX:%20y",
    "..%2f..%2fetc%2fpasswd",
    "9" * 30,
    "-" + "9" * 30,
    str(MAX),
    str(-MAX - 1),
    str(2**31),
    "1e400",
    "nan",
    "inf",
    "-0",
    "%F0%9F%98%80",
    quote("٣"),  # a digit, not an ASCII one
    "a" * 1500,
    "true",
    "null",
    "",
]


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something can be put in: every member of it at every depth."""
    places = [here]
    if isinstance(value, dict):
        for name, one in value.items():
            places += _places(one, (*here, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            places += _places(one, (*here, number))
    return places


def _put(value: Any, place: tuple[Any, ...], odd: Any) -> Any:
    if not place:
        return odd
    value = copy.deepcopy(value)
    inner = value
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = odd
    return value


@st.composite
def odd_bodies(draw: st.DrawFn, body: Any, properties: list[str]) -> bytes:
    """`body` with one member replaced, or one of `properties` added; as JSON, with NaN and escapes as they come."""
    odd = draw(st.sampled_from(VALUES))
    added = [(name,) for name in properties] if isinstance(body, dict) else []
    place = draw(st.sampled_from([*_places(body), *added]))
    return json.dumps(_put(body, place, odd)).encode()


@st.composite
def odd_addresses(draw: st.DrawFn, path: str, names: list[str], values: dict[str, Any], queries: list[str]) -> str:
    """The path with its parameters `names` filled in, one of them or of `queries` odd."""
    which = draw(st.sampled_from([*names, *queries]))
    odd = draw(st.sampled_from(WRITTEN))
    for name in names:
        path = path.replace("{" + name + "}", odd if name == which else quote(str(values.get(name, "0")), safe=""))
    return f"{path}?{which}={odd}" if which in queries and which not in names else path
