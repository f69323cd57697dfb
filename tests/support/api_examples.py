"""Operations of an OpenAPI schema and a small value for what they take."""

from typing import Any


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }


def example(schema: dict[str, Any], of: dict[str, Any]) -> Any:
    """A small value of a JSON schema as FastAPI writes them."""
    if "$ref" in of:
        return example(schema, schema["components"]["schemas"][of["$ref"].rpartition("/")[2]])
    if "const" in of or "enum" in of:
        return of.get("const", of.get("enum", [None])[0])
    for choice in ("anyOf", "oneOf"):
        if choice in of:
            return example(schema, of[choice][0])
    match of.get("type"):
        case "object":
            return {name: example(schema, of["properties"][name]) for name in of.get("required", ())}
        case "array":
            return [example(schema, of["items"]) for _ in range(of.get("minItems", 0))]
        case "integer" | "number":
            return of.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return "x" * of.get("minLength", 1)
