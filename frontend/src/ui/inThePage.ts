/** What is said to people at a command line, without the flags in its brackets: the page asks for the same. */
export function inThePage(text: string): string {
  return text.replaceAll(/ \((?:or |else )?--[^)]*\)/g, "");
}
