import { useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import type { paths } from "@/api/schema";
import { notifyError } from "@/ui/confirm";
import { usePages } from "@/ui/pages";

export type User = Schema<"UserOut">;
export type Token = Schema<"TokenOut">;
export type Invitation = Schema<"InvitationOut">;
export type Reset = Schema<"ResetOut">;

const refresh = (...keys: string[]) => {
  for (const key of keys) void queryClient.invalidateQueries({ queryKey: [key] });
};

export function useChangePassword() {
  return useMutation({
    mutationFn: (body: Schema<"PasswordIn">) => ok(api.POST("/api/auth/password", { body })),
    onSuccess: () => refresh("token", "invitation", "reset", "audit"),
  });
}

export function useTokens() {
  return useQuery({ queryKey: ["token"], queryFn: () => ok(api.GET("/api/auth/tokens")) });
}

export function useCreateToken() {
  return useMutation({
    mutationFn: (name: string) => ok(api.POST("/api/auth/tokens", { body: { name } })),
    onSuccess: () => refresh("token", "audit"),
  });
}

export async function revokeToken(id: string): Promise<void> {
  await api.DELETE("/api/auth/tokens/{token_id}", { params: { path: { token_id: id } } });
  refresh("token", "audit");
}

export function useUsers() {
  return useQuery({ queryKey: ["user"], queryFn: () => ok(api.GET("/api/users")) });
}

export function useChangeUser() {
  return useMutation({
    mutationFn: ({ id, ...body }: { id: string } & Partial<Schema<"UserPatch">>) =>
      ok(api.PATCH("/api/users/{user_id}", { params: { path: { user_id: id } }, body })),
    onSuccess: () => refresh("user", "invitation", "reset", "audit", "me"),
    onError: (error) => notifyError(error, "The account was not changed"),
  });
}

export function useResetLink() {
  return useMutation({
    mutationFn: (user: User) => ok(api.POST("/api/users/{user_id}/reset", { params: { path: { user_id: user.id } } })),
    onSuccess: () => refresh("reset", "audit"),
    onError: (error) => notifyError(error, "No link was made"),
  });
}

export function useResets() {
  return useQuery({ queryKey: ["reset"], queryFn: () => ok(api.GET("/api/resets")) });
}

export async function withdrawReset(id: string): Promise<void> {
  await api.DELETE("/api/resets/{reset_id}", { params: { path: { reset_id: id } } });
  refresh("reset", "audit");
}

export function useInvitations() {
  return useQuery({ queryKey: ["invitation"], queryFn: () => ok(api.GET("/api/invitations")) });
}

export function useInvite() {
  return useMutation({
    mutationFn: (role: Schema<"Role">) => ok(api.POST("/api/invitations", { body: { role } })),
    onSuccess: () => refresh("invitation", "audit"),
  });
}

export async function withdraw(id: string): Promise<void> {
  await api.DELETE("/api/invitations/{invitation_id}", { params: { path: { invitation_id: id } } });
  refresh("invitation", "audit");
}

export function useSettings() {
  return useQuery({ queryKey: ["settings"], queryFn: () => ok(api.GET("/api/settings")) });
}

export function useChangeSettings() {
  return useMutation({
    mutationFn: (body: Schema<"StudioSettingsPatch">) => ok(api.PATCH("/api/settings", { body })),
    onSuccess: (settings) => {
      queryClient.setQueryData(["settings"], settings);
      refresh("audit");
    },
  });
}

type AuditFilter = Omit<NonNullable<paths["/api/audit/page"]["get"]["parameters"]["query"]>, "cursor" | "limit">;

/** The log as it is asked for, newest first. */
export function useAudit(filter: AuditFilter) {
  return usePages<Schema<"AuditOut">>(["audit", filter], (ask, signal) =>
    ok(api.GET("/api/audit/page", { params: { query: { ...filter, ...ask } }, signal })),
  );
}
