import { Alert, Button, Code, PasswordInput, Stack, TextInput } from "@mantine/core";
import { isNotEmpty, useForm } from "@mantine/form";
import { IconKey } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Navigate, useLocation } from "react-router";

import { meQuery } from "@/api/queries";
import { ErrorNote } from "@/ui/ErrorNote";

import { AuthCard } from "./AuthCard";
import { useLogIn } from "./hooks";
import { nextPage } from "./next";

export function SignInPage() {
  const { search } = useLocation();
  const next = nextPage(search);
  const me = useQuery(meQuery);
  const logIn = useLogIn(next);
  const form = useForm({
    mode: "uncontrolled",
    initialValues: { name: "", password: "" },
    validate: { name: isNotEmpty("Your name"), password: isNotEmpty("Your password") },
  });
  if (me.data?.user && !logIn.isPending) return <Navigate to={next} replace />;
  return (
    <AuthCard title="Sign in">
      {me.data?.setup_required === true && (
        <Alert icon={<IconKey size={18} />} title="No administrator exists yet" mb="md">
          Open the setup link that <Code>make up</Code> printed in the terminal: it makes the first account.
        </Alert>
      )}
      <form onSubmit={form.onSubmit((values) => logIn.mutate(values))}>
        <Stack>
          <TextInput
            label="Name"
            autoComplete="username"
            data-autofocus
            data-testid="sign-in-name"
            key={form.key("name")}
            {...form.getInputProps("name")}
          />
          <PasswordInput
            label="Password"
            autoComplete="current-password"
            data-testid="sign-in-password"
            key={form.key("password")}
            {...form.getInputProps("password")}
          />
          <ErrorNote error={logIn.error} />
          <Button type="submit" loading={logIn.isPending} data-testid="sign-in-submit">
            Sign in
          </Button>
        </Stack>
      </form>
    </AuthCard>
  );
}
