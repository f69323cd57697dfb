/** Binary packs of JPEGs, as GET /api/episodes/{id}/pack sends them (backend/episodes/endpoints.py, get_pack). */

export interface Pack {
  /** first step in it */
  readonly start: number;
  readonly count: number;
  /** it holds every so many-th step */
  readonly stride: number;
  readonly cameras: readonly string[];
  readonly bytes: number;
  /** The JPEG of a camera at a step; throws RangeError for steps that are not in it. A view: nothing is copied. */
  jpeg(step: number, camera: number): Uint8Array<ArrayBuffer>;
}

interface Header {
  start: number;
  count: number;
  stride: number;
  cameras: string[];
  sizes: number[][];
}

const LENGTH_BYTES = 4;

/** Reads a pack. Throws Error if it is cut short or not one. */
export function parsePack(buffer: ArrayBuffer): Pack {
  if (buffer.byteLength < LENGTH_BYTES) throw new Error(`a pack of ${buffer.byteLength} bytes has no header`);
  const headerBytes = new DataView(buffer).getUint32(0, true);
  if (LENGTH_BYTES + headerBytes > buffer.byteLength)
    throw new Error(`a pack of ${buffer.byteLength} bytes announces a header of ${headerBytes}`);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, LENGTH_BYTES, headerBytes))) as Header;
  const { start, count, stride, cameras, sizes } = header;
  if (sizes.length !== count || sizes.some((row) => row.length !== cameras.length))
    throw new Error(`a pack of ${count} steps and ${cameras.length} cameras lists other sizes`);
  // where each JPEG begins, one more than there are: the last is the end
  const offsets = new Float64Array(count * cameras.length + 1);
  let position = LENGTH_BYTES + headerBytes;
  sizes.flat().forEach((size, index) => {
    offsets[index] = position;
    position += size;
  });
  offsets[offsets.length - 1] = position;
  if (position !== buffer.byteLength)
    throw new Error(`a pack announces ${position} bytes and has ${buffer.byteLength}`);
  return {
    start,
    count,
    stride,
    cameras,
    bytes: buffer.byteLength,
    jpeg(step, camera) {
      const index = ((step - start) / stride) * cameras.length + camera;
      const from = offsets[index];
      const to = offsets[index + 1];
      if (step < start || camera < 0 || camera >= cameras.length || from === undefined || to === undefined)
        throw new RangeError(
          `step ${step}, camera ${camera} of a pack of ${start}..${start + count * stride} by ${stride}`,
        );
      return new Uint8Array(buffer, from, to - from);
    },
  };
}

/** Things by key within a budget of bytes; the one not used for the longest time goes first. */
export class Budgeted<T> {
  bytes = 0;
  private readonly entries = new Map<string, { value: T; bytes: number }>();

  constructor(
    private readonly budget: number,
    private readonly dropped: (value: T) => void = () => undefined,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  has(key: string): boolean {
    return this.entries.has(key);
  }

  /** Counts as a use. */
  get(key: string): T | undefined {
    const entry = this.entries.get(key);
    if (!entry) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  /** `keep`: a key that stays even if the budget is overrun. The newest always stays. */
  set(key: string, value: T, bytes: number, keep?: string): void {
    this.delete(key);
    this.entries.set(key, { value, bytes });
    this.bytes += bytes;
    for (const oldest of this.entries.keys()) {
      if (this.bytes <= this.budget) return;
      if (oldest !== keep && oldest !== key) this.delete(oldest);
    }
  }

  delete(key: string): void {
    const entry = this.entries.get(key);
    if (!entry) return;
    this.entries.delete(key);
    this.bytes -= entry.bytes;
    this.dropped(entry.value);
  }

  clear(): void {
    for (const key of [...this.entries.keys()]) this.delete(key);
  }
}
