"""Files with values by name, YAML and JSON."""

import json
from pathlib import Path

import pytest

from dexvla.errors import UserError
from dexvla.mappings import read_mapping, read_yaml


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


def bomb(levels: int, each: int) -> str:
    """Anchors that repeat each other: `each` to the power of `levels` values."""
    rows = ["a0: &a0 [x]"]
    rows += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * each)}]" for level in range(1, levels + 1)]
    return "\n".join(rows)


def merges(levels: int) -> str:
    """Merge keys that merge each other, which are written out while the text is read."""
    rows = ["a0: &a0 {x: 1}"]
    return "\n".join(
        rows + [f"a{at}: &a{at} {{<<: [{', '.join([f'*a{at - 1}'] * 30)}]}}" for at in range(1, levels + 1)]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(9, 20), "its anchors repeat more than 1048576 values"),
        (merges(8), "its anchors repeat more than 1048576 values"),
        ("a: &a [*a]", r"its alias \*a stands for nothing"),
        ("a: " + "[" * 300_000, "nested more than 100 deep"),
        ("a: " + "[" * 300 + "]" * 300, "nested more than 100 deep"),
        ("a: 1" + ":1" * 400_000, "a value of 800001 characters without quotes"),
        ("a: " + "x y " * 300_000, "at most 1048576 are read"),
    ],
)
def test_yaml_that_makes_more_of_itself_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        read_mapping(file, "values")


def test_yaml_with_anchors_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("base: &base {fps: 50, colours: bgr}\none: {<<: *base, fps: 30}\nmany: [*base, *base]\n")
    base = {"fps": 50, "colours": "bgr"}
    assert read_mapping(file, "values") == {"base": base, "one": {"fps": 30, "colours": "bgr"}, "many": [base, base]}


def test_without_the_c_reader_the_same_is_read_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("yaml.CSafeLoader")
    assert read_yaml("a: [1, {b: c}]") == {"a": [1, {"b": "c"}]}
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        read_yaml("[" * 300)
