import { formatCount } from "@/ui/format";

import type { Model } from "./core/hooks";

export const MODEL_KINDS: Record<Model["kind"], { label: string; use: string }> = {
  backbone: { label: "backbone", use: "Stage 2 starts from it" },
  expert: { label: "expert", use: "Stage 2 may start its action expert from it" },
  policy: { label: "policy", use: "Stage 3 may start from it" },
};

/** 1_543_000_000 -> "1.54 B", 2_100_000 -> "2.1 M". */
export function formatParameters(count: number): string {
  for (const [size, unit] of [
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "K"],
  ] as const)
    if (count >= size) return `${Number((count / size).toPrecision(3))} ${unit}`;
  return formatCount(count);
}

/** What the server found out about a model, as short phrases; nested things are left to the tooltip. */
export function infoLines(info: Record<string, unknown>): string[] {
  return Object.entries(info).flatMap(([key, value]) => {
    if (value === null || value === "" || typeof value === "object") return [];
    const name = key.replaceAll("_", " ");
    if (typeof value === "number")
      return [key.includes("parameters") ? `${formatParameters(value)} parameters` : `${name} ${formatCount(value)}`];
    if (typeof value === "boolean") return value ? [name] : [];
    return typeof value === "string" ? [`${name} ${value}`] : [];
  });
}
