import { Anchor, Code, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, Navigate, useSearchParams } from "react-router";

import { meQuery } from "@/api/queries";

import { AccountForm } from "./AccountForm";
import { AuthCard } from "./AuthCard";
import { useSetUp } from "./hooks";

export function SetupPage() {
  const [search] = useSearchParams();
  const token = search.get("token") ?? "";
  const me = useQuery(meQuery);
  const setUp = useSetUp();
  if (me.data?.user && !setUp.isPending) return <Navigate to="/" replace />;
  if (me.data && !me.data.setup_required)
    return (
      <AuthCard title="Already set up">
        <Text size="sm">
          This studio has an administrator.{" "}
          <Anchor component={Link} to="/sign-in" size="sm">
            Sign in
          </Anchor>
          , or ask them for an invitation.
        </Text>
      </AuthCard>
    );
  if (token === "")
    return (
      <AuthCard title="The setup link is incomplete">
        <Text size="sm">
          Open the whole address that <Code>make up</Code> printed in the terminal, up to and including what follows{" "}
          <Code>?token=</Code>. It is printed again at every start until an administrator exists.
        </Text>
      </AuthCard>
    );
  return (
    <AuthCard
      title="Welcome"
      subtitle="Make the first account. It becomes the administrator, who can invite others later."
    >
      <AccountForm
        named
        submit="Create the account"
        pending={setUp.isPending}
        error={setUp.error}
        onSubmit={(values) => setUp.mutate({ token, ...values })}
      />
    </AuthCard>
  );
}
