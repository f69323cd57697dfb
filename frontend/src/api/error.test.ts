import { expect, test } from "vitest";

import { errorFrom, fieldsOf, messageOf } from "./error";

test("an answer of the API keeps its message, fields and detail", () => {
  const error = errorFrom(422, {
    error: { code: "invalid", message: "episodes: too many", fields: { episodes: "too many" }, detail: { edit: 3 } },
  });
  expect(error).toMatchObject({ status: 422, code: "invalid", message: "episodes: too many", detail: { edit: 3 } });
  expect(fieldsOf(error)).toEqual({ episodes: "too many" });
});

test("a proxy's page becomes one line that says nothing is lost", () => {
  expect(errorFrom(502, null).message).toMatch(/502.*Nothing is lost/);
});

test("an answer of another shape names its status", () => {
  expect(errorFrom(500, { detail: "boom" }).message).toMatch(/500/);
});

test("anything thrown has a message and no fields", () => {
  expect(messageOf("plain")).toBe("plain");
  expect(fieldsOf(new Error("x"))).toEqual({});
});
