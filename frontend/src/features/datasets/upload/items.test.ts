import { expect, test } from "vitest";

import { became, goingAlong, itemOf, Items, sums, type Item, type ItemState } from "./items";
import type { ServerFile } from "./transfer";

const server = (id: string, more: Partial<ServerFile> = {}) =>
  ({ id, upload_id: "u", url: `/${id}`, state: "uploading", ...more }) as ServerFile;

function item(key: string, state: ItemState = "waiting", more: Partial<Item> = {}): Item {
  const found = { path: `${key}.mp4`, file: new File(["four"], key) };
  return { ...itemOf(key, found, server(`f${key}`), "folder", { instruction: "", look_first: false }), state, ...more };
}

function listed(...all: Item[]): Items {
  const items = new Items();
  for (const one of all) items.add(one);
  return items;
}

const keys = (items: readonly Item[]) => items.map(({ key }) => key);

test("files are found by key, by the studio's id and by state, whatever becomes of them", () => {
  const items = listed(item("1"), item("2"), item("3", "sending"));
  expect(items.underWay).toBe(true);
  items.set("1", { state: "sending" });
  items.set("2", { done: 3 });
  expect([keys(items.in("waiting")), keys(items.in("sending")), items.count("failed")]).toEqual([["2"], ["3", "1"], 0]);
  items.sort("sending");
  expect(keys(items.in("sending"))).toEqual(["1", "3"]);
  expect(items.first("sending", ({ key }) => key !== "1")?.key).toBe("3");
  items.set("2", { server: { id: "other", uploadId: "v", url: "/other", kind: "folder" } });
  expect([items.ofServer("f2"), items.ofServer("other")?.key]).toEqual([undefined, "2"]);
  items.add(item("4", "waiting", { server: { id: "other", uploadId: "v", url: "/other", kind: "folder" } }));
  expect([keys(items.all), items.size, items.get("2")]).toEqual([["1", "3", "4"], 3, undefined]);
  for (const key of ["1", "3", "4", "none"]) items.delete(key);
  expect([items.all, items.ofServer("other"), items.underWay]).toEqual([[], undefined, false]);
  items.set("4", { state: "failed" }); // gone stays gone
  expect(items.size).toBe(0);
});

test("the list is the same one until something changes", () => {
  const items = listed(item("1"));
  const before = items.all;
  expect(items.all).toBe(before);
  items.set("1", { done: 1 });
  expect(items.all).not.toBe(before);
});

test("what the studio says becomes the state of a file", () => {
  const said = (more: Partial<ServerFile>) => became(server("f", { episode_id: null, ...more }), 4);
  expect(said({ state: "uploading" })).toEqual({ state: "waiting", done: 0 });
  expect(said({ state: "received", message: "Waiting: no room" })).toMatchObject({ state: "checking", done: 4 });
  expect(said({ state: "refused", errors: ["bad"] })).toMatchObject({ state: "refused", errors: ["bad"] });
  expect(said({ state: "staged" })).toMatchObject({ state: "staged", episode: null });
  const there = { episode_id: "e", episode_number: 0 };
  expect(said({ state: "taken_in", ...there })).toMatchObject({ state: "accepted", episode: { id: "e", number: 0 } });
  expect(said({ state: "already_there", ...there })).toMatchObject({ state: "known", episode: { id: "e", number: 0 } });
});

test("bytes that are there count, and of those that were sent from here the pace is made", () => {
  const all = [item("1", "sending", { done: 3, before: 1 }), item("2", "checking"), item("3"), item("4", "refused")];
  expect(sums(all)).toEqual({ sentBytes: 7, totalBytes: 12, fromHere: 2 });
});

test("files that arrived go along with what is open of their upload", () => {
  const other = { server: { id: "x", uploadId: "other", url: "", kind: "folder" } } as const;
  expect(keys(goingAlong([item("1"), item("2", "staged"), item("3", "staged", other)]))).toEqual(["2"]);
});
