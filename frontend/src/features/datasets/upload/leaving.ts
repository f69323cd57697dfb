const sending = new Set<object>();

function ask(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

/** Leaving the page ends what is being sent, wherever in the page one is: the browser asks before, while `under` way. */
export function warnBeforeLeaving(uploads: object, under: boolean): void {
  const before = sending.size;
  if (under) sending.add(uploads);
  else sending.delete(uploads);
  if (before === 0 && sending.size > 0) window.addEventListener("beforeunload", ask);
  if (before > 0 && sending.size === 0) window.removeEventListener("beforeunload", ask);
}
