/** What may take the keyboard from a page, so that it does not hear the end of a key that is held. */
import { isTyping } from "./keys";

/** Parts of a page that open something of the browser's or take the keyboard when they are pressed. */
const OPENERS = [
  "a[href]",
  "audio",
  "embed",
  "iframe",
  "input:not([type=range], [type=button])",
  "label",
  "object",
  "select",
  "summary",
  "textarea",
  "video",
  "[aria-haspopup]",
  "[contenteditable]",
  "[draggable=true]",
  "[role=combobox]",
].join();

/** For the page's own menus: they are not the browser's, and take the focus. */
const DIALOGS = "dialog, [role=dialog], [role=alertdialog], [role=menu], [role=listbox]";

/** The dead-man to be held with a finger: a long touch there is no wish for a menu. */
export const DEADMAN = "data-deadman-button";

/**
 * Calls `gone` with the reason, for people, at each event after which a key's end may not be heard. The browser's menu
 * does not open meanwhile. Returns what ends it.
 */
export function watchForThieves(gone: (why: string) => void): () => void {
  const control = new AbortController();
  const on = (target: EventTarget, types: string, heard: (event: Event) => void) => {
    for (const type of types.split(" "))
      target.addEventListener(type, heard, { capture: true, signal: control.signal });
  };
  const at = (event: Event) => (event.target instanceof Element ? event.target : null);

  on(window, "blur pagehide beforeunload", (event) => {
    if (!(event.target instanceof Element)) gone("The page lost the keyboard."); // else a field of ours lost the focus
  });
  on(document, "visibilitychange freeze pointerlockchange", () => gone("The page lost the keyboard."));
  on(window, "contextmenu", (event) => {
    event.preventDefault();
    const finger = event instanceof PointerEvent && event.pointerType === "touch";
    if (!(finger && at(event)?.closest(`[${DEADMAN}]`))) gone("A menu was asked for.");
  });
  on(window, "pointerdown", (event) => {
    if (event instanceof PointerEvent && event.button > 0) gone("Another mouse button was pressed.");
    else if (at(event)?.closest(OPENERS)) gone("Something else was clicked.");
  });
  // by the page's code too, as for the choice of a file
  on(window, "click", (event) => {
    if (at(event)?.closest("input[type=file], input[type=color], select")) gone("Something else was clicked.");
  });
  on(window, "focusin", (event) => {
    if (isTyping(event.target) || at(event)?.closest(DIALOGS)) gone("Another part of the page has the keyboard.");
  });
  on(window, "beforetoggle", (event) => {
    if ("newState" in event && event.newState === "open") gone("Something was opened.");
  });
  on(window, "dragstart dragenter drop", () => gone("Something is dragged."));
  on(window, "beforeprint afterprint", () => gone("The page is printed."));
  on(window, "compositionstart", () => gone("An input method took over."));
  on(window, "resize fullscreenchange orientationchange", () => gone("The window changed."));
  return () => control.abort();
}
