/** A file that was not accepted, and why. */
export interface FileProblem {
  name: string;
  errors: string[];
}

/** The files that an import did not take, from the job's result; [] where it says nothing. */
export function refusedFiles(result: Record<string, unknown> | null | undefined): FileProblem[] {
  const listed = result?.refused;
  if (!Array.isArray(listed)) return [];
  return listed.flatMap((each: unknown) => {
    if (typeof each !== "object" || each === null || !("name" in each)) return [];
    const errors = "errors" in each && Array.isArray(each.errors) ? each.errors.map(String) : [];
    return [{ name: String(each.name), errors }];
  });
}
