import { queryOptions, useQuery } from "@tanstack/react-query";

import { api, ok } from "@/api/client";
import { queryClient } from "@/api/queries";
import { notifyError } from "@/ui/confirm";

import { DEFAULTS, keptOf, readPreferences, type Preferences } from "./preferences";

const KEEP_AFTER_MS = 500;
const path = { page: "annotator" } as const;

export const preferencesQuery = queryOptions({
  queryKey: ["preferences", "annotator"],
  queryFn: async () => readPreferences((await ok(api.GET("/api/me/preferences/{page}", { params: { path } }))).value),
  staleTime: Infinity,
});

let timer: ReturnType<typeof setTimeout> | undefined;

/** Seen at once, kept on the server a moment later: a slider makes many changes. */
export function changePreferences(change: Partial<Preferences>): void {
  const { queryKey } = preferencesQuery;
  const preferences = { ...(queryClient.getQueryData(queryKey) ?? DEFAULTS), ...change };
  queryClient.setQueryData(queryKey, preferences);
  clearTimeout(timer);
  timer = setTimeout(() => {
    api
      .PUT("/api/me/preferences/{page}", { params: { path }, body: { value: keptOf(preferences) } })
      .catch((error: unknown) => notifyError(error, "Your settings are not kept"));
  }, KEEP_AFTER_MS);
}

export function usePreferences(): Preferences {
  return useQuery(preferencesQuery).data ?? DEFAULTS;
}
