/** How a person likes the annotator: kept on the server, the same at every desk. */

import type { Bindings } from "./actions";
import { LAYOUTS, type Layout } from "./layout";

/** Of a camera's image; 1: as it is. */
export interface Look {
  readonly brightness: number;
  readonly contrast: number;
}

export const PLAIN_LOOK: Look = { brightness: 1, contrast: 1 };
export const LOOK_RANGE = { least: 0.4, most: 4 } as const;

/** Curves under the timeline. */
export const TRACKS = ["grippers", "speed", "joints"] as const;
export type Track = (typeof TRACKS)[number];
export type CurveKind = "both" | "state" | "action";

export interface Preferences {
  readonly keys: Bindings;
  /** how long after the moment the key comes, when one cuts while it plays, milliseconds */
  readonly lagMs: number;
  /** boundaries that are dragged, or cut while it plays, go to candidates nearby */
  readonly snap: boolean;
  /** a zoomed timeline goes along with the playhead */
  readonly follow: boolean;
  readonly layout: Layout;
  /** share of the window's height that images may take; the name is that under which it was always kept */
  readonly pictures: number;
  /** by camera */
  readonly looks: Readonly<Record<string, Look>>;
  readonly tracks: readonly Track[];
  readonly curves: CurveKind;
  /** names of joints whose curves are not shown */
  readonly hidden: readonly string[];
  /** proposals with at least this confidence are accepted together, 0 .. 1 */
  readonly acceptAbove: number;
}

export const LAG_MOST_MS = 1000;
export const IMAGES_RANGE = { least: 0.2, most: 0.7 } as const;

export const DEFAULTS: Preferences = {
  keys: {},
  lagMs: 200,
  snap: true,
  follow: true,
  layout: "even",
  pictures: 0.44,
  looks: {},
  tracks: ["grippers", "speed", "joints"],
  curves: "both",
  hidden: [],
  acceptAbove: 0.8,
};

/** What the server keeps, whatever it is: fields that are missing or make no sense are as at the first visit. */
export function readPreferences(kept: unknown): Preferences {
  const found = record(kept);
  return {
    keys: mapped(found.keys, texts),
    lagMs: number(found.lagMs, 0, LAG_MOST_MS) ?? DEFAULTS.lagMs,
    snap: flag(found.snap) ?? DEFAULTS.snap,
    follow: flag(found.follow) ?? DEFAULTS.follow,
    layout: LAYOUTS.find((each) => each === found.layout) ?? DEFAULTS.layout,
    pictures: number(found.pictures, IMAGES_RANGE.least, IMAGES_RANGE.most) ?? DEFAULTS.pictures,
    looks: mapped(found.looks, look),
    tracks: texts(found.tracks)?.filter(isTrack) ?? DEFAULTS.tracks,
    curves: (["both", "state", "action"] as const).find((each) => each === found.curves) ?? DEFAULTS.curves,
    hidden: texts(found.hidden) ?? DEFAULTS.hidden,
    acceptAbove: number(found.acceptAbove, 0, 1) ?? DEFAULTS.acceptAbove,
  };
}

/** Only what differs from a first visit's is kept, so that later defaults reach everybody. */
export function keptOf(preferences: Preferences): Partial<Preferences> {
  const differs = ([name, value]: [string, unknown]) =>
    JSON.stringify(value) !== JSON.stringify(DEFAULTS[name as keyof Preferences]);
  return Object.fromEntries(Object.entries(preferences).filter(differs));
}

function isTrack(name: string): name is Track {
  return TRACKS.some((each) => each === name);
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function mapped<T>(value: unknown, read: (value: unknown) => T | undefined): Record<string, T> {
  const entries = Object.entries(record(value)).map(([name, each]) => [name, read(each)] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, T] => entry[1] !== undefined));
}

function texts(value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every((each) => typeof each === "string") ? value : undefined;
}

function number(value: unknown, least: number, most: number): number | undefined {
  return typeof value === "number" && value >= least && value <= most ? value : undefined;
}

function flag(value: unknown): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

function look(value: unknown): Look | undefined {
  const { brightness, contrast } = record(value);
  const found = {
    brightness: number(brightness, LOOK_RANGE.least, LOOK_RANGE.most),
    contrast: number(contrast, LOOK_RANGE.least, LOOK_RANGE.most),
  };
  return found.brightness === undefined || found.contrast === undefined ? undefined : (found as Look);
}
