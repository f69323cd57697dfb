/**
 * What is selected without what this page would list if it were there: episodes come by number, so that one whose
 * number lies between those of the page, and that is not on it, is gone.
 */
export function stillThere(
  selected: ReadonlySet<string>,
  numbers: ReadonlyMap<string, number>,
  items: readonly { id: string; number: number }[],
  page: { first: boolean; last: boolean },
): ReadonlySet<string> {
  const here = new Set(items.map(({ id }) => id));
  const low = page.first ? -Infinity : (items[0]?.number ?? Infinity);
  const high = page.last ? Infinity : (items.at(-1)?.number ?? -Infinity);
  const kept = [...selected].filter((id) => {
    const number = numbers.get(id);
    if (here.has(id)) return true;
    if (number === undefined) return !(page.first && page.last);
    return number < low || number > high;
  });
  return kept.length === selected.size ? selected : new Set(kept);
}
