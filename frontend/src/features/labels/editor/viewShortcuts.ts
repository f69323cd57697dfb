/** What changes the view of the annotator and nothing else, as actions: the timeline, the cameras, the panels. */

import type { Action } from "./actions";

export interface ViewParts {
  /** factor < 1 shows less; null: everything */
  zoom: (factor: number | null) => void;
  /** one pixel a step, or as near as the episode lets it */
  zoomToPixels: () => void;
  toggleFollow: () => void;
  toggleSnap: () => void;
  nextLayout: () => void;
  nextCamera: () => void;
  magnify: () => void;
  pan: (x: number, y: number) => void;
  cameraSettings: () => void;
  goToStep: () => void;
  guideline: () => void;
}

export function viewActions(view: ViewParts): Action[] {
  const pan = (id: string, label: string, key: string, x: number, y: number): Action => ({
    id,
    group: "View",
    label,
    keys: [`Ctrl+Shift+${key}`],
    repeats: true,
    perform: () => view.pan(x, y),
  });
  return [
    {
      id: "zoom-in",
      group: "View",
      label: "Zoom the timeline in around the playhead",
      keys: ["ArrowUp"],
      repeats: true,
      perform: () => view.zoom(0.6),
    },
    {
      id: "zoom-out",
      group: "View",
      label: "Zoom the timeline out",
      keys: ["ArrowDown"],
      repeats: true,
      perform: () => view.zoom(1 / 0.6),
    },
    { id: "zoom-all", group: "View", label: "Show all steps", keys: ["0"], perform: () => view.zoom(null) },
    { id: "zoom-pixels", group: "View", label: "One pixel per step", keys: ["Shift+0"], perform: view.zoomToPixels },
    {
      id: "follow",
      group: "View",
      label: "Make the timeline follow the playhead, or stop that",
      keys: ["F"],
      perform: view.toggleFollow,
    },
    { id: "layout", group: "View", label: "Next layout of the cameras", keys: ["V"], perform: view.nextLayout },
    {
      id: "camera",
      group: "View",
      label: "One camera alone, the next one, all",
      keys: ["Z"],
      perform: view.nextCamera,
    },
    { id: "magnify", group: "View", label: "Magnify its image", keys: ["Shift+Z"], perform: view.magnify },
    pan("pan-left", "Move the magnified image left", "ArrowLeft", -1, 0),
    pan("pan-right", "Move the magnified image right", "ArrowRight", 1, 0),
    pan("pan-up", "Move the magnified image up", "ArrowUp", 0, -1),
    pan("pan-down", "Move the magnified image down", "ArrowDown", 0, 1),
    {
      id: "guideline",
      group: "View",
      label: "What the texts mean, with example frames, or the vocabulary again",
      keys: ["Shift+G"],
      perform: view.guideline,
    },
    { id: "pictures", group: "View", label: "Brightness and contrast", keys: ["W"], perform: view.cameraSettings },
  ];
}
