/** Where to go after signing in: a page of ours, never another site's. */
export function nextPage(search: string): string {
  const next = new URLSearchParams(search).get("next");
  if (!next?.startsWith("/") || next.startsWith("//") || next.startsWith("/\\")) return "/";
  return /^\/(sign-in|setup|link)\b/.test(next) ? "/" : next;
}
