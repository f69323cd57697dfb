import { queryOptions, useQuery } from "@tanstack/react-query";

import { api, ok } from "@/api/client";
import { useCan } from "@/api/queries";

const serversQuery = queryOptions({
  queryKey: ["live", "policy-servers"],
  queryFn: () => ok(api.GET("/api/live/policy-servers")),
  staleTime: Infinity, // of the server's environment: it changes with a restart
});

/** The policy servers to choose from, HOST:PORT: those that the administrator lists with a port. */
export function usePolicyServers(): string[] {
  const { data } = useQuery({ ...serversQuery, enabled: useCan("operator") });
  return chooseable(data?.servers ?? []);
}

/** Without those of any port, which are no address. */
function chooseable(servers: string[]): string[] {
  return servers.filter((server) => !server.endsWith(":*"));
}
