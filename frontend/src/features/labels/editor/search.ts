/** Texts by what somebody types: the best first. */

function plain(text: string): string {
  return text
    .normalize("NFKD")
    .replace(/\p{Mark}/gu, "")
    .toLowerCase();
}

/** Lower is better: the beginning, beginnings of words in order, somewhere inside, letters in order; null: not at all. */
function rank(text: string, typed: string): number | null {
  if (text.startsWith(typed)) return 0;
  const words = text.split(/\s+/u);
  let word = 0;
  const begins = typed.split(/\s+/u).every((part) => {
    while (word < words.length && !words[word]?.startsWith(part)) word += 1;
    word += 1;
    return word <= words.length;
  });
  if (begins) return 1;
  if (text.includes(typed)) return 2;
  let at = 0;
  for (const letter of typed.replace(/\s/gu, "")) {
    at = text.indexOf(letter, at) + 1;
    if (at === 0) return null;
  }
  return 3;
}

/** Places in `texts` of those that fit; a number means the entry of that number, counted from one. */
export function search(texts: readonly string[], typed: string): number[] {
  const wanted = plain(typed.trim());
  const all = texts.map((_, index) => index);
  if (wanted === "") return all;
  const ranks = texts.map((text, index) => (wanted === String(index + 1) ? -1 : rank(plain(text), wanted)));
  return all.filter((index) => ranks[index] !== null).sort((a, b) => (ranks[a] ?? 0) - (ranks[b] ?? 0) || a - b);
}
