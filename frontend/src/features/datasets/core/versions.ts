import { useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";

export type Version = Schema<"VersionOut">;

export function useVersions() {
  return useQuery({ queryKey: ["version", "list"], queryFn: () => ok(api.GET("/api/versions")) });
}
