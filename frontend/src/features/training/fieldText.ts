import type { Field } from "./form";

/** A value as an input shows it, exactly: what is read back is the same number. */
export function toText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(toText).join(", ");
  if (typeof value === "number") {
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e9) ? value.toExponential().replace("e+", "e") : String(value);
  }
  if (typeof value === "boolean") return value ? "on" : "off";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A value for people to read, with "default" where the stage decides, and large numbers with separators. */
export function toReading(value: unknown, field?: Pick<Field, "unit">): string {
  if (value === null || value === undefined) return "default";
  if (Array.isArray(value) && value.length === 0) return "none";
  const text = Number.isInteger(value) && Math.abs(value as number) < 1e9 ? group(value as number) : toText(value);
  return field?.unit && typeof value === "number" ? `${text} ${field.unit}` : text;
}

function group(value: number): string {
  return value.toLocaleString("en").replaceAll(",", " ");
}

export type Parsed = { value: unknown } | { error: string };

/** What a person typed into a field of numbers or text. Empty is null where the field may be left to the stage. */
export function parse(field: Field, text: string): Parsed {
  const trimmed = text.trim();
  if (trimmed === "") {
    if (field.optional) return { value: null };
    if (field.kind === "integers" || field.kind === "numbers") return { value: [] };
    return { error: "This needs a value." };
  }
  if (field.kind === "text") return { value: trimmed };
  if (field.kind === "integers" || field.kind === "numbers") {
    const values: number[] = [];
    for (const part of trimmed.split(/[,;\s]+/).filter(Boolean)) {
      const one = number(part, field.kind === "integers", field);
      if ("error" in one) return one;
      values.push(one.value);
    }
    return { value: values };
  }
  return number(trimmed, field.kind === "integer", field);
}

function number(text: string, whole: boolean, field: Field): { value: number } | { error: string } {
  const plain = text.replace(/(?<=\d)[ _'\u2009\u202f](?=\d)/g, "");
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain))
    return { error: `"${text}" is not a number; write it like ${whole ? "1000" : "0.0001 or 1e-4"}.` };
  const value = Number(plain);
  if (!Number.isFinite(value)) return { error: `${text} is too large.` };
  if (whole && !Number.isInteger(value)) return { error: `${text} is not a whole number.` };
  const bound = outside(value, field);
  return bound === null ? { value } : { error: bound };
}

function outside(value: number, field: Field): string | null {
  const { minimum, maximum, exclusive_minimum: above, exclusive_maximum: below } = field;
  if (minimum !== null && minimum !== undefined && value < minimum) return `At least ${toText(minimum)}.`;
  if (above !== null && above !== undefined && value <= above) return `More than ${toText(above)}.`;
  if (maximum !== null && maximum !== undefined && value > maximum) return `At most ${toText(maximum)}.`;
  if (below !== null && below !== undefined && value >= below) return `Less than ${toText(below)}.`;
  return null;
}
