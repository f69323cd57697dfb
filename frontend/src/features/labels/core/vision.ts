import { queryOptions } from "@tanstack/react-query";

import { api, ok } from "@/api/client";

/** Whether a vision-language model is set up, and where frames would go. */
export const visionQuery = queryOptions({
  queryKey: ["proposal-sources"],
  queryFn: async () => (await ok(api.GET("/api/proposals/sources"))).vision,
  staleTime: 300_000,
});
