import { expect, test } from "vitest";

import { chain, curlCommand } from "./lineage";

const source = (name: string) => ({
  version_id: name,
  dataset_id: name,
  dataset_name: name,
  number: 1,
  manifest_sha256: "",
  weight: 1,
});
const detail = (id: string, stage: number, step: number) => ({
  id,
  name: `${id}-name`,
  stage,
  step,
  run_id: `run-${id}`,
  run_name: `Run ${id}`,
  sources: [source(id)],
  available: true,
});
const ancestor = (kind: string, id: string, stage: number | null = null, step: number | null = null) => ({
  kind,
  id,
  name: `${id}-name`,
  stage,
  step,
});
const ANCESTORS = [ancestor("checkpoint", "two", 2, 50), ancestor("backbone", "qwen"), ancestor("expert", "scaledp")];

test("the chain goes from the base model to the checkpoint, each run with its data", () => {
  const links = chain(detail("three", 3, 100), ANCESTORS, [detail("two", 2, 50)]);
  expect(links.map((link) => [link.stage, link.run?.name, link.checkpoint.step, link.sources.length])).toEqual([
    [2, "Run two", 50, 1],
    [3, "Run three", 100, 1],
  ]);
  expect(links[0]?.models.map(({ id }) => id)).toEqual(["qwen", "scaledp"]);
  expect(links[1]?.models).toEqual([]);
});

test("a checkpoint that is not loaded has its place", () => {
  const links = chain(detail("three", 3, 100), ANCESTORS, []);
  expect(links[0]).toMatchObject({ stage: 2, run: null, checkpoint: { id: "two", step: 50, available: null } });
});

test("a run from a base model is a chain of one", () => {
  const links = chain(detail("two", 2, 50), [ancestor("backbone", "qwen")], []);
  expect(links).toHaveLength(1);
  expect(links[0]?.models).toHaveLength(1);
});

test("the download command names, resumes and checks the file", () => {
  const command = curlCommand("https://studio.lab", "/api/checkpoints/1/archive", "cube 1.tar", "abc");
  expect(command).toContain("--continue-at -");
  expect(command).toContain("--output 'cube 1.tar' https://studio.lab/api/checkpoints/1/archive");
  expect(command).toContain("echo 'abc  cube 1.tar' | sha256sum --check");
  expect(command).toContain('"Authorization: Bearer $STUDIO_TOKEN"');
});
