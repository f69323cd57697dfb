/** Which element the first click of a double click met. Loaded with the frame of all pages, to know it on the next. */
let first: EventTarget | null = null;

window.addEventListener(
  "click",
  (event) => {
    if (event.detail <= 1) first = event.target;
  },
  { capture: true },
);

interface Click {
  detail: number;
  currentTarget: Element;
}

/**
 * Whether this is the second click of a double click whose first one was meant for something else, which was there a
 * moment ago. A third click, a press of a key and a touch elsewhere are meant for what is there.
 */
export function isSecondClickOfAnother({ detail, currentTarget }: Click): boolean {
  return detail === 2 && first instanceof Node && !currentTarget.contains(first);
}
