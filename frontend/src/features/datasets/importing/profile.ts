import type { Schema } from "@/api/client";

export type Profile = Schema<"ImportProfile">;
export type Preview = Schema<"ImportPreviewOut">;
export type SourceCamera = Schema<"SourceCameraOut">;
export type CameraChoice = Schema<"CameraProfile">;
export type Colours = Schema<"Colours">;

/** Nothing said: everything is as the files say, or a guess. */
export const EMPTY: Profile = {
  instruction_from: "file",
  instruction_table: {},
  fps_from: "file",
  angles: "radians",
  grippers: [],
  action_shift: 0,
  append_base: false,
  keep_good_steps: false,
};

/** Whether two profiles say the same; what is null and what is left out is the same. */
export function sameProfile(one: Profile, other: Profile): boolean {
  return plain(one) === plain(other);
}

function plain(profile: Profile): string {
  return JSON.stringify({ ...EMPTY, ...profile }, (_, value: unknown) => withoutNulls(value));
}

function withoutNulls(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value ?? undefined;
  const said = Object.entries(value).filter(([, inner]) => inner !== null && inner !== undefined);
  return Object.fromEntries(said.sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** The cameras of the source with what the profile says of each, those that are kept first and in their order. */
export function cameraRows(
  cameras: readonly SourceCamera[],
  profile: Profile,
): { camera: SourceCamera; choice: CameraChoice; kept: boolean }[] {
  const bySource = new Map(cameras.map((camera) => [camera.source, camera]));
  const kept = (profile.cameras ?? cameras.map(({ source }) => ({ source }))).flatMap((choice) => {
    const camera = bySource.get(choice.source);
    return camera === undefined ? [] : [{ camera, choice, kept: true }];
  });
  const named = new Set(kept.map(({ camera }) => camera.source));
  const left = cameras.filter(({ source }) => !named.has(source));
  return [...kept, ...left.map((camera) => ({ camera, choice: { source: camera.source }, kept: false }))];
}

/** The profile with other cameras; all of them, in the source's order and with nothing said of any, is nothing said. */
export function withCameras(profile: Profile, cameras: readonly SourceCamera[], rows: CameraChoice[]): Profile {
  const untouched =
    rows.length === cameras.length &&
    rows.every(
      ({ source, name, colours, turned }, index) =>
        source === cameras[index]?.source && !name && !colours && (turned === null || turned === undefined),
    );
  return { ...profile, cameras: untouched ? null : rows };
}

/** Which order of colours was told for a camera; null: it is as the file says, or a guess. */
export function toldColours(choice: CameraChoice, profile: Profile): Colours | null {
  return choice.colours ?? profile.colours ?? null;
}

/** The picked dimensions after one was switched; null where all are picked. */
export function toggled(picked: readonly number[] | null | undefined, index: number, count: number): number[] | null {
  const now = picked ?? [...Array(count).keys()];
  const next = now.includes(index) ? now.filter((one) => one !== index) : [...now, index].sort((a, b) => a - b);
  return next.length === count ? null : next;
}

const PLACES = { file: "from the file", folder: "the folder's name", table: "from the table", text: "as typed" };

/** "pick up the cube" (from the file). */
export function instructionText({ text, found_in }: Schema<"InstructionOut">): string {
  if (text === null || found_in === null) return "Nobody says what the robot is to do.";
  return `"${text}" (${PLACES[found_in]})`;
}

/** Points of a curve for an SVG of `width` x `height`; gaps where a value is missing. */
export function curvePath(values: readonly (number | null)[], width: number, height: number): string {
  const known = values.filter((value) => value !== null);
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  let pen = "M";
  return values
    .map((value, index) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const x = (index / Math.max(values.length - 1, 1)) * width;
      const y = height - 1 - ((value - low) / span) * (height - 2);
      const point = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      return point;
    })
    .join("");
}
