"""Files with values by name, YAML and JSON."""

import json
from pathlib import Path

import pytest

from dexvla.errors import UserError
from dexvla.mappings import read_mapping


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_is_read_as_json(tmp_path: Path, ascii_only: bool) -> None:
    values = {"name": "one\u0085two\u2028three", "tab": "a\tb", "smile": "\U0001f600", "number": 1e-7}
    file = tmp_path / "spec.JSON"
    file.write_text(json.dumps(values, ensure_ascii=ascii_only), encoding="utf-8")
    assert read_mapping(file, "values") == values
    tabbed = tmp_path / "tabs.json"
    tabbed.write_text('{\n\t"name":\t"x"\n}', encoding="utf-8")
    assert read_mapping(tabbed, "values") == {"name": "x"}


@pytest.mark.parametrize(("name", "kind"), [("a.json", "JSON"), ("a.yaml", "YAML")])
def test_what_cannot_be_read_is_told_with_what_was_expected(tmp_path: Path, name: str, kind: str) -> None:
    file = tmp_path / name
    file.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=f"not {kind}: "):
        read_mapping(file, "values")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=f"not {kind}: "):
        read_mapping(file, "values")
    file.write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match="expected values, found list"):
        read_mapping(file, "values")
