/** A file or episode of which something is to be said: why it was not accepted, or what was left out of it. */
export interface FileProblem {
  name: string;
  errors: string[];
}

/** What an import's result lists under `key`; [] where it says nothing. */
export function problemsOf(result: Record<string, unknown> | null | undefined, key: string): FileProblem[] {
  const listed = result?.[key];
  if (!Array.isArray(listed)) return [];
  return listed.flatMap((each: unknown) => {
    if (typeof each !== "object" || each === null || !("name" in each)) return [];
    const errors = "errors" in each && Array.isArray(each.errors) ? each.errors.map(String) : [];
    return [{ name: String(each.name), errors }];
  });
}
