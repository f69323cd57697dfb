/**
 * Colours of substeps by their place in the vocabulary: told apart on light and dark, also by people with the common
 * colour-blindnesses. Texts outside the vocabulary are grey, empty ones hatched.
 */
const HUES = [203, 28, 158, 322, 48, 262, 8, 88, 182, 232] as const;

export interface LabelColor {
  /** of the bar in the timeline */
  fill: string;
  /** of text on it */
  text: string;
}

export function labelColor(index: number, scheme: "light" | "dark"): LabelColor {
  if (index < 0)
    return scheme === "light" ? { fill: "#ccd3d9", text: "#20262c" } : { fill: "#4a545e", text: "#f2f4f6" };
  const hue = HUES[index % HUES.length] ?? 0;
  // further rounds of the same hues are paler
  const round = Math.floor(index / HUES.length) % 3;
  return scheme === "light"
    ? { fill: `hsl(${hue} ${72 - 18 * round}% ${74 + 4 * round}%)`, text: "#14191d" }
    : { fill: `hsl(${hue} ${46 - 10 * round}% ${32 - 3 * round}%)`, text: "#f6f8f9" };
}
