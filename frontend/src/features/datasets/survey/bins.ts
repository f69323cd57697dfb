/** Values put into bins of equal width. members: places in the list that was given. */
export interface Bin {
  from: number;
  to: number;
  members: number[];
}

/** From the lowest to the highest value; one bin where all are equal, none where there are none. */
export function bins(values: readonly number[], most = 24): Bin[] {
  if (values.length === 0) return [];
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (low === high) return [{ from: low, to: high, members: values.map((_, at) => at) }];
  const count = Math.min(most, Math.max(4, Math.ceil(Math.sqrt(values.length) * 2)));
  const width = (high - low) / count;
  const found: Bin[] = Array.from({ length: count }, (_, at) => ({
    from: low + at * width,
    to: at === count - 1 ? high : low + (at + 1) * width,
    members: [],
  }));
  values.forEach((value, at) => {
    found[Math.min(count - 1, Math.floor((value - low) / width))]?.members.push(at);
  });
  return found;
}

/** Where each value lies between the lowest (0) and the highest (1); in the middle where all are equal. */
export function scale(values: readonly number[]): { low: number; high: number; share: (value: number) => number } {
  const low = Math.min(...values);
  const high = Math.max(...values);
  return { low, high, share: (value) => (low === high ? 0.5 : (value - low) / (high - low)) };
}

/** Of a list of numbers; 0 for an empty one. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const two = sorted.length % 2 === 1 ? [sorted[middle]] : [sorted[middle - 1], sorted[middle]];
  return two.reduce<number>((sum, value) => sum + (value ?? 0), 0) / two.length;
}
