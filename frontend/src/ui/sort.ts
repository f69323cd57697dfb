export interface Order {
  key: string;
  descending: boolean;
}

type Value = string | number | null | undefined;

/** A sorted copy; equal ones keep their order, missing values come last either way. */
export function sorted<Row>(rows: readonly Row[], by: (row: Row) => Value, descending = false): Row[] {
  const direction = descending ? -1 : 1;
  return rows
    .map((row, place) => ({ row, place, value: by(row) }))
    .sort((a, b) => {
      const missing =
        Number(a.value === null || a.value === undefined) - Number(b.value === null || b.value === undefined);
      return missing || direction * compare(a.value, b.value) || a.place - b.place;
    })
    .map(({ row }) => row);
}

function compare(a: Value, b: Value): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true, sensitivity: "base" });
}
