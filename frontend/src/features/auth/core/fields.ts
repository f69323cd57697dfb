/** The API's rules (backend/accounts/schemas.py), said before the form is sent. */
export const PASSWORD_MIN = 10;

export function checkName(value: string): string | null {
  if (value.trim() === "") return "Choose a name";
  return /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/.test(value.trim())
    ? null
    : "Letters, digits and . _ @ - only, starting with a letter or digit";
}

export function checkPassword(value: string): string | null {
  return value.length < PASSWORD_MIN ? `At least ${PASSWORD_MIN} characters (${value.length} so far)` : null;
}
