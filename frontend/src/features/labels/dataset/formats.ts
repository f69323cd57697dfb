/** The files that labels alone come in. */

import type { LabelFormat } from "@/features/labels/core/hooks";

export const FORMATS: readonly { format: LabelFormat; label: string; help: string }[] = [
  {
    format: "json",
    label: "JSON",
    help: "Everything: substeps with where they came from, instruction, paraphrases, outcome, quality, tags.",
  },
  { format: "csv", label: "CSV", help: "One row per substep, with steps and seconds, for spreadsheets." },
  { format: "elan", label: "ELAN text", help: "Tab-delimited text with times, as ELAN reads and writes it." },
];

/** What a file is by its name; null: by its name it could be anything. */
export function formatOf(name: string): LabelFormat | null {
  const ending = name.toLowerCase().split(".").at(-1);
  if (ending === "json") return "json";
  if (ending === "csv") return "csv";
  return ending === "txt" || ending === "tsv" ? "elan" : null;
}
