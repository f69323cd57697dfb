import { Skeleton, Text } from "@mantine/core";
import { useSearchParams } from "react-router";

import { ErrorNote } from "@/ui/ErrorNote";

import { AccountForm } from "./AccountForm";
import { AuthCard } from "./AuthCard";
import { useAcceptLink, useLink } from "./hooks";

/** An invitation, or a link to set a new password. */
export function LinkPage() {
  const [search] = useSearchParams();
  const token = search.get("token") ?? "";
  const accept = useAcceptLink();
  const link = useLink(token, accept.isPending || accept.isSuccess);
  if (token === "")
    return (
      <AuthCard title="The link is incomplete">
        <Text size="sm">Open the whole address that you were sent, up to and including what follows ?token=.</Text>
      </AuthCard>
    );
  if (link.error)
    return (
      <AuthCard title="This link does not work">
        <ErrorNote error={link.error} />
      </AuthCard>
    );
  if (!link.data)
    return (
      <AuthCard title="One moment">
        <Skeleton height={120} />
      </AuthCard>
    );
  const { kind, role, name } = link.data;
  const invitation = kind === "invitation";
  return (
    <AuthCard
      title={invitation ? "You are invited" : "Set a new password"}
      subtitle={invitation ? `Make an account with the role ${role ?? ""}.` : `For the account ${name ?? ""}.`}
    >
      <AccountForm
        named={invitation}
        submit={invitation ? "Create the account" : "Save and sign in"}
        pending={accept.isPending}
        error={accept.error}
        onSubmit={(values) =>
          accept.mutate({ token, name: invitation ? values.name : null, password: values.password })
        }
      />
    </AuthCard>
  );
}
