/** dexvla's pre-flight report, as the job's result or a run has it. Parts that are missing stay null. */
export interface Preflight {
  ok: boolean;
  errors: string[];
  notes: string[];
  /** parts of the estimated peak, largest first, bytes */
  memory: { name: string; bytes: number }[];
  memoryTotal: number | null;
  disk: { needed: number; free: number } | null;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === "string") : [];
}

function table(value: unknown): Record<string, number> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, number] => typeof entry[1] === "number"),
  );
}

export function readPreflight(report: Record<string, unknown>): Preflight {
  const { total, ...parts } = table(report.memory_bytes);
  const disk = table(report.disk_bytes);
  const errors = texts(report.errors);
  return {
    ok: errors.length === 0 && report.ok !== false,
    errors,
    notes: texts(report.notes),
    memory: Object.entries(parts)
      .map(([name, bytes]) => ({ name, bytes }))
      .sort((a, b) => b.bytes - a.bytes),
    memoryTotal: total ?? null,
    disk: disk.needed !== undefined && disk.free !== undefined ? { needed: disk.needed, free: disk.free } : null,
  };
}
