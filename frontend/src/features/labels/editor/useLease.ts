import { useCallback, useEffect, useRef, useState } from "react";

import { api, ApiError, fetchOk, messageOf, ok } from "@/api/client";
import { queryClient } from "@/api/queries";
import { notifyError } from "@/ui/confirm";

import { draftKey, type About, type DraftOut } from "./api";
import type { Editor } from "./editor";

/** The server lets a lease go 90 s after the last sign of life. */
const HEARTBEAT_MS = 20_000;

export interface Lease {
  /** why it cannot be had, for people to read; null: it is held here, or nobody asked for it yet */
  readonly refused: string | null;
  /** Work on it here, whoever has it. False if that is not possible. */
  readonly takeOver: () => Promise<boolean>;
}

/** Token of the lease that a page saves under. */
export interface Token {
  current: string | null;
}

/**
 * The first edit claims the labels, so that two people do not edit the same ones; the page says that it is still there
 * while it is open, and lets go when it is left.
 */
export function useLease(draft: DraftOut, editor: Editor, token: Token): Lease {
  const { episode_id: episodeId, tier, rater } = draft;
  /** also when it is not known whether it still counts: the server knows the page by it */
  const last = useRef<string | null>(null);
  const [refused, setRefused] = useState<string | null>(null);
  const claiming = useRef<Promise<boolean> | null>(null);

  const claim = useCallback(
    async (takeOver: boolean): Promise<boolean> => {
      try {
        const claimed = await ok(
          api.POST("/api/episodes/{episode_id}/draft/claim", {
            params: { path: { episode_id: episodeId } },
            body: { tier, rater, take_over: takeOver, token: last.current },
          }),
        );
        token.current = last.current = claimed.lease?.token ?? null;
        setRefused(null);
        queryClient.setQueryData(draftKey(episodeId, { tier, rater }), claimed);
        return true;
      } catch (error) {
        token.current = null;
        if (isLeased(error)) {
          setRefused(messageOf(error));
          void queryClient.invalidateQueries({ queryKey: draftKey(episodeId, { tier, rater }) });
        } else if (takeOver) notifyError(error, "Not taken over");
        // without an answer the save itself says whether it may
        return false;
      }
    },
    [episodeId, tier, rater, token],
  );

  // submitted, published or taken over: the lease is gone
  useEffect(() => {
    if (draft.lease?.mine !== true) token.current = null;
  }, [draft, token]);

  useEffect(() => {
    const edited = () => {
      if (editor.state.save.kind !== "pending" || token.current !== null || claiming.current) return;
      claiming.current = claim(false).finally(() => {
        claiming.current = null;
      });
    };
    return editor.subscribe(edited);
  }, [editor, claim, token]);

  useEffect(() => {
    const beat = async (held: string) => {
      try {
        await ok(
          api.POST("/api/episodes/{episode_id}/draft/heartbeat", {
            params: { path: { episode_id: episodeId } },
            body: { tier, rater, token: held },
          }),
        );
      } catch (error) {
        if (!isLeased(error) || token.current !== held) return;
        token.current = null;
        setRefused(messageOf(error));
        void queryClient.invalidateQueries({ queryKey: draftKey(episodeId, { tier, rater }) });
      }
    };
    const timer = setInterval(() => {
      if (token.current !== null) void beat(token.current);
    }, HEARTBEAT_MS);
    const release = () => {
      const held = token.current;
      token.current = null;
      if (held !== null) void letGo(episodeId, { tier, rater }, held);
    };
    window.addEventListener("pagehide", release);
    return () => {
      clearInterval(timer);
      window.removeEventListener("pagehide", release);
      // what was edited last is saved first
      void editor.autosave.flush().then(release);
    };
  }, [episodeId, tier, rater, editor, token]);

  return { refused, takeOver: useCallback(() => claim(true), [claim]) };
}

function isLeased(error: unknown): boolean {
  return error instanceof ApiError && error.code === "leased";
}

async function letGo(episodeId: string, about: About, token: string): Promise<void> {
  try {
    await fetchOk(`/api/episodes/${episodeId}/draft/release`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...about, token }),
      keepalive: true,
    });
  } catch {
    // then it runs out by itself
  }
}
