import { MutationCache, QueryCache, QueryClient, queryOptions, useQuery } from "@tanstack/react-query";

import { api, ApiError, ok, onSignedOut, type Schema } from "./client";
import { Events, TOPICS, type Topic } from "./events";

/** Further query keys that an event makes stale. */
const ALSO: Partial<Record<Topic, readonly string[]>> = { dataset: ["version"] };

export const queryClient = new QueryClient({
  queryCache: new QueryCache(),
  mutationCache: new MutationCache(),
  defaultOptions: {
    // networkMode: what the browser believes about the network is no reason to wait. A studio on this machine, or in a
    // network without a way out, is there while the browser calls itself offline; and a stop, or any other command, that
    // is held back without a word and sent when the network comes back would be worse than one that fails.
    queries: {
      networkMode: "always",
      staleTime: 5_000,
      refetchOnWindowFocus: true,
      // what the server refused stays refused; what did not arrive may arrive
      retry: (failures, error) =>
        failures < 2 && (!(error instanceof ApiError) || error.status === 0 || error.status >= 502),
    },
    mutations: { networkMode: "always", retry: false },
  },
});

function socketUrl(): string {
  const { protocol, host } = window.location;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}/api/events`;
}

/** Ask "me" again; if the session is over, the shell shows the sign-in page. */
export function recheckSession(): void {
  void queryClient.invalidateQueries({ queryKey: ["me"] });
}

onSignedOut(recheckSession);

/** Started and stopped by the shell with the session. */
export const events = new Events({
  url: socketUrl(),
  changed: (topics) => {
    const keys = new Set<unknown>([...topics].flatMap((topic) => [topic, ...(ALSO[topic] ?? [])]));
    void queryClient.invalidateQueries({ predicate: (query) => keys.has(query.queryKey[0]) });
    if (topics.size === TOPICS.length) void queryClient.invalidateQueries({ queryKey: ["health"] });
  },
  signedOut: recheckSession,
});

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: () => ok(api.GET("/api/auth/me")),
  staleTime: 60_000,
});

export type Role = Schema<"Role">;
const ROLES: readonly Role[] = ["viewer", "annotator", "operator", "admin"];

/** Whether `role` may do what needs `needed`. */
function allows(role: Role | undefined, needed: Role): boolean {
  return role !== undefined && ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

/** Who is signed in. Below the shell there is always somebody. */
export function useMe(): Schema<"UserOut"> | undefined {
  return useQuery(meQuery).data?.user ?? undefined;
}

/** Whether the person may do what needs `needed`. */
export function useCan(needed: Role): boolean {
  return allows(useMe()?.role, needed);
}

export const healthQuery = queryOptions({
  queryKey: ["health"],
  queryFn: () => ok(api.GET("/api/health")),
  refetchInterval: 15_000,
});

/** Is any worker there to do jobs? undefined while unknown. */
export function useWorkers(): number | undefined {
  return useQuery(healthQuery).data?.workers;
}
