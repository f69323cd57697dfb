"""Operations of an OpenAPI schema and a small value for what they take."""

from typing import Any

import httpx
from fastapi.testclient import TestClient


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


def call(browser: TestClient, schema: dict[str, Any], name: str) -> httpx.Response:
    """Call an operation with a body and parameters of the right form, of things that do not exist."""
    method, path = name.split()
    operation = operations(schema)[name]
    query: dict[str, Any] = {}
    for parameter in operation.get("parameters", ()):
        value = example(schema, parameter["schema"])
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(value))
        elif parameter["in"] == "query" and parameter.get("required"):
            query[parameter["name"]] = value
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    body = None if content is None else example(schema, content["schema"])
    return browser.request(method, path, params=query, json=body)
