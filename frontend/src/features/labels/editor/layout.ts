/** Where the images of the cameras go. */

/** even: all of one size, in the grid that makes them largest; row: side by side; focus: one large, the others beside. */
export const LAYOUTS = ["even", "row", "focus"] as const;
export type Layout = (typeof LAYOUTS)[number];

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Box extends Size {
  readonly left: number;
  readonly top: number;
}

const GAP = 6;
/** Of the width, for the cameras beside a large one. */
const ASIDE = 0.3;

/**
 * Boxes of the cameras in their order, within `room` and centred in its width, aspect ratios kept; null: not shown.
 * focus: the camera that is large; only: alone.
 */
export function placed(
  cameras: readonly Size[],
  room: Size,
  layout: Layout,
  { focus = 0, only = null }: { focus?: number; only?: number | null } = {},
): (Box | null)[] {
  const shown = cameras
    .map((camera, index) => ({ camera, index }))
    .filter(({ index }) => only === null || index === only);
  if (shown.length === 0 || room.width <= 0 || room.height <= 0) return cameras.map(() => null);
  const sizes = shown.map(({ camera }) => camera);
  const boxes =
    layout === "focus" && shown.length > 1
      ? focused(sizes, room, Math.min(focus, shown.length - 1))
      : grid(sizes, room, layout === "row" ? shown.length : bestColumns(sizes, room));
  const centred = centre(boxes, room);
  return cameras.map((_, index) => centred[shown.findIndex((each) => each.index === index)] ?? null);
}

/** The height that the boxes take. */
export function heightOf(boxes: readonly (Box | null)[]): number {
  return Math.max(0, ...boxes.map((box) => (box ? box.top + box.height : 0)));
}

function fitted({ width, height }: Size, room: Size): Size {
  const scale = Math.min(room.width / width, room.height / height);
  return { width: Math.floor(width * scale), height: Math.floor(height * scale) };
}

function cellOf(count: number, columns: number, room: Size): Size {
  const rows = Math.ceil(count / columns);
  return { width: (room.width - GAP * (columns - 1)) / columns, height: (room.height - GAP * (rows - 1)) / rows };
}

function bestColumns(cameras: readonly Size[], room: Size): number {
  const area = (columns: number) => {
    const cell = cellOf(cameras.length, columns, room);
    if (cell.width <= 0 || cell.height <= 0) return 0;
    return cameras.map((camera) => fitted(camera, cell)).reduce((sum, { width, height }) => sum + width * height, 0);
  };
  const choices = cameras.map((_, index) => cameras.length - index);
  return choices.reduce((best, columns) => (area(columns) > area(best) ? columns : best));
}

function grid(cameras: readonly Size[], room: Size, columns: number): Box[] {
  const cell = cellOf(cameras.length, columns, room);
  const sizes = cameras.map((camera) => fitted(camera, cell));
  const width = Math.max(...sizes.map((size) => size.width));
  const height = Math.max(...sizes.map((size) => size.height));
  return sizes.map((size, index) => ({
    ...size,
    left: (index % columns) * (width + GAP),
    top: Math.floor(index / columns) * (height + GAP),
  }));
}

function focused(cameras: readonly Size[], room: Size, focus: number): Box[] {
  const others = cameras.length - 1;
  const large = fitted(cameras[focus] ?? { width: 4, height: 3 }, {
    width: room.width * (1 - ASIDE) - GAP,
    height: room.height,
  });
  const cell = {
    width: room.width * ASIDE,
    height: (large.height - GAP * (others - 1)) / others,
  };
  let top = 0;
  return cameras.map((camera, index) => {
    if (index === focus) return { ...large, left: 0, top: 0 };
    const box = { ...fitted(camera, cell), left: large.width + GAP, top };
    top += box.height + GAP;
    return box;
  });
}

function centre(boxes: readonly Box[], room: Size): Box[] {
  const width = Math.max(...boxes.map((box) => box.left + box.width));
  const by = Math.max(0, Math.floor((room.width - width) / 2));
  return boxes.map((box) => ({ ...box, left: box.left + by }));
}
