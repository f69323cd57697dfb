import { useMutation, useQuery } from "@tanstack/react-query";
import { useNavigate } from "react-router";

import { api, ok, type Schema } from "@/api/client";
import { meQuery, queryClient } from "@/api/queries";

/** What the browser knows from before belongs to whoever was signed in before. */
function signedIn(me: Schema<"Me">): void {
  queryClient.clear();
  queryClient.setQueryData(meQuery.queryKey, me);
}

function useEntrance<Body>(call: (body: Body) => Promise<Schema<"Me">>, to: string) {
  const navigate = useNavigate();
  return useMutation({
    mutationFn: call,
    onSuccess: (me) => {
      signedIn(me);
      void navigate(to, { replace: true });
    },
  });
}

export function useLogIn(to: string) {
  return useEntrance((body: Schema<"LoginIn">) => ok(api.POST("/api/auth/login", { body })), to);
}

export function useSetUp() {
  return useEntrance((body: Schema<"SetupIn">) => ok(api.POST("/api/auth/setup", { body })), "/");
}

export function useAcceptLink() {
  return useEntrance((body: Schema<"LinkAccept">) => ok(api.POST("/api/links", { body })), "/");
}

/** used: it is being accepted, and not to be asked about again. */
export function useLink(token: string, used: boolean) {
  return useQuery({
    queryKey: ["link", token],
    queryFn: () => ok(api.GET("/api/links", { params: { query: { token } } })),
    retry: false,
    enabled: token !== "" && !used,
  });
}
