import { useEffect } from "react";

import { notifyDone } from "@/ui/confirm";

import type { Editor } from "./editor";
import type { Playback } from "./playback";

/** The frames come while the page is open. */
export function usePlayback({ player, frames }: Playback): void {
  useEffect(() => {
    player.start();
    return () => {
      player.stop();
      frames.dispose();
    };
  }, [player, frames]);
}

/** Nothing is lost when the page is hidden, left or goes online again. */
export function useSaving(editor: Editor): void {
  useEffect(() => {
    if (editor.restored) notifyDone("Edits that could not be saved on an earlier visit were restored.");
    const leave = () => {
      if (document.visibilityState === "hidden") void editor.autosave.flush(true);
    };
    const ask = (event: BeforeUnloadEvent) => {
      if (editor.autosave.unsaved) event.preventDefault();
    };
    const online = () => editor.autosave.retry();
    document.addEventListener("visibilitychange", leave);
    window.addEventListener("pagehide", leave);
    window.addEventListener("beforeunload", ask);
    window.addEventListener("online", online);
    return () => {
      document.removeEventListener("visibilitychange", leave);
      window.removeEventListener("pagehide", leave);
      window.removeEventListener("beforeunload", ask);
      window.removeEventListener("online", online);
      void editor.autosave.flush();
    };
  }, [editor]);
}
