import type { Schema } from "@/api/client";

export type Field = Schema<"FieldOut">;
export type TrainForm = Schema<"TrainForm">;
export type RunIn = Schema<"RunIn">;
export type Source = Required<Schema<"SourceIn">>;
export type Stage = RunIn["stage"];

/**
 * What a person has chosen so far. `own`: dotted path -> value, only where it differs from preset and default; it is
 * kept across a switch of stage or preset, and counts again where it applies. `name` null: the suggested one.
 */
export interface Draft {
  name: string | null;
  stage: Stage;
  preset: string | null;
  sources: Source[];
  base_model_id: string | null;
  expert_id: string | null;
  checkpoint_id: string | null;
  own: Record<string, unknown>;
}

export const EMPTY_DRAFT: Draft = {
  name: null,
  stage: 2,
  preset: "tiny",
  sources: [],
  base_model_id: null,
  expert_id: null,
  checkpoint_id: null,
  own: {},
};

/** Values of a form are numbers, booleans, texts, null, and lists of them. */
export function same(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((each, index) => same(each, b[index]));
  return a === b || ((a === null || a === undefined) && (b === null || b === undefined));
}

/** What preset (or, without one, the spec) puts into a field. */
export function usual(form: TrainForm, draft: Pick<Draft, "preset" | "stage">, field: Field): unknown {
  const values = form.presets.find(({ name }) => name === draft.preset)?.values[draft.stage];
  return values && field.path in values ? values[field.path] : field.default;
}

/** The value a field has now: the person's, else the preset's, else the default. */
export function valueOf(form: TrainForm, draft: Draft, field: Field): unknown {
  return field.path in draft.own ? draft.own[field.path] : usual(form, draft, field);
}

export function differs(form: TrainForm, draft: Draft, field: Field): boolean {
  return field.path in draft.own && !same(draft.own[field.path], usual(form, draft, field));
}

/** A field counts in this stage, and while the switch that it belongs to is on. */
export function applies(form: TrainForm, draft: Draft, field: Field): boolean {
  if (!field.stages.includes(draft.stage)) return false;
  const needed = field.requires;
  if (needed === null || needed === undefined) return true;
  const by = form.fields.find(({ path }) => path === needed);
  return by === undefined || (applies(form, draft, by) && valueOf(form, draft, by) === true);
}

/** The draft with one value chosen. A value that is the usual one is no choice: it follows the preset from then on. */
export function choose(form: TrainForm, draft: Draft, field: Field, value: unknown): Draft {
  if (same(value, usual(form, draft, field))) return reset(draft, field.path);
  return { ...draft, own: { ...draft.own, [field.path]: value } };
}

/** Back to what the preset says: one field, or all of them. */
export function reset(draft: Draft, path?: string): Draft {
  if (path === undefined) return { ...draft, own: {} };
  return { ...draft, own: Object.fromEntries(Object.entries(draft.own).filter(([key]) => key !== path)) };
}

/** Another stage: choices stay, presets that do not know the stage go, and so does where the run started from. */
export function withStage(form: TrainForm, draft: Draft, stage: Stage): Draft {
  if (stage === draft.stage) return draft;
  const known = form.presets.find(({ name }) => name === draft.preset)?.values[stage];
  const preset = draft.preset === null || known ? draft.preset : (form.presets[0]?.name ?? null);
  return { ...draft, stage, preset, base_model_id: null, expert_id: null, checkpoint_id: null };
}

/** Fields that a person changed and that count, by path. */
export function changes(form: TrainForm, draft: Draft): Field[] {
  return form.fields.filter((field) => applies(form, draft, field) && differs(form, draft, field));
}

/** The request: only what counts is sent, so that a value behind a switch that is off is no mistake. */
export function toRequest(form: TrainForm, draft: Draft, name: string): RunIn {
  return {
    name,
    stage: draft.stage,
    preset: draft.preset,
    sources: draft.sources,
    base_model_id: draft.base_model_id,
    expert_id: draft.stage === 2 ? draft.expert_id : null,
    checkpoint_id: draft.stage === 3 ? draft.checkpoint_id : null,
    fields: Object.fromEntries(changes(form, draft).map((field) => [field.path, draft.own[field.path]])),
  };
}

/** A draft that makes the run of `request` again, under a name of its own. */
export function fromRequest(request: Partial<RunIn>): Draft {
  return {
    name: request.name === undefined ? null : copyName(request.name),
    stage: request.stage ?? 2,
    preset: request.preset ?? null,
    sources: (request.sources ?? []).map(({ version_id, weight }) => ({ version_id, weight })),
    base_model_id: request.base_model_id ?? null,
    expert_id: request.expert_id ?? null,
    checkpoint_id: request.checkpoint_id ?? null,
    own: request.fields ?? {},
  };
}

/** "pick" -> "pick-2", "pick-2" -> "pick-3"; never longer than a name may be. */
export function copyName(name: string): string {
  const [, stem = name, number] = /^(.*?)-(\d{1,4})$/.exec(name) ?? [];
  const tail = `-${number === undefined ? 2 : Number(number) + 1}`;
  return `${stem.slice(0, 64 - tail.length)}${tail}`;
}

/** A name for a run that has none: what it trains on, and the stage. Letters that a name may not have are left out. */
export function suggestName(dataset: string | undefined, stage: Stage): string {
  const stem = (dataset ?? "run")
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/[^A-Za-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .toLowerCase()
    .slice(0, 48);
  return `${stem || "run"}-stage${stage}`;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9 ._-]*$/;

/** What is plainly missing or wrong before the server is asked, by field of the request. */
export function missing(draft: Draft, name: string): Record<string, string> {
  const errors: Record<string, string> = {};
  if (name === "") errors.name = "Give the run a name.";
  else if (name.length > 64) errors.name = `The name has ${name.length} characters; 64 are allowed.`;
  else if (!NAME.test(name))
    errors.name = "Letters, digits, spaces, dots, hyphens and underscores; the first a letter or digit.";
  if (draft.sources.length === 0) errors.sources = "Choose what to train on.";
  if (draft.stage === 2 && draft.base_model_id === null) errors.base_model_id = "Choose the base model to start from.";
  if (draft.stage === 3 && draft.checkpoint_id === null && draft.base_model_id === null)
    errors.checkpoint_id = "Choose the checkpoint to start from.";
  return errors;
}

/** Those groups of the form that have some of these fields, each with them. */
export function grouped(form: Pick<TrainForm, "groups">, fields: readonly Field[]): [string, Field[]][] {
  return form.groups
    .map((group): [string, Field[]] => [group, fields.filter((field) => field.group === group)])
    .filter(([, found]) => found.length > 0);
}

/** Whether every word of `words` occurs in what the page shows of a field. */
export function matches(field: Field, words: string): boolean {
  const text = [field.path, field.label, field.description, field.group, ...(field.choices ?? [])]
    .join(" ")
    .toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
