import { Alert, Button, Card, Group, Stack, Text, TextInput } from "@mantine/core";
import { isNotEmpty, useForm } from "@mantine/form";
import { IconKey } from "@tabler/icons-react";

import { fieldsOf } from "@/api/client";
import { ConfirmButton } from "@/ui/ConfirmButton";
import { Copyable } from "@/ui/Copyable";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { ErrorNote } from "@/ui/ErrorNote";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";
import { Time } from "@/ui/Time";

import { revokeToken, useCreateToken, useTokens, type Token } from "./hooks";

const COLUMNS: Column<Token>[] = [
  { key: "name", header: "Name", cell: (token) => token.name },
  { key: "created", header: "Made", width: 140, cell: (token) => <Time value={token.created_at} /> },
  { key: "used", header: "Last used", width: 140, cell: (token) => <Time value={token.last_used_at} /> },
  {
    key: "actions",
    header: "",
    width: 100,
    align: "right",
    cell: (token) => (
      <ConfirmButton
        needs="viewer"
        size="xs"
        variant="default"
        data-testid="token-revoke"
        question={`Revoke the token ${token.name}?`}
        explanation="Scripts that use it are refused from now on. This cannot be undone, but you can make another one."
        confirmLabel="Revoke it"
        action={() => revokeToken(token.id)}
      >
        Revoke
      </ConfirmButton>
    ),
  },
];

export function TokensTab() {
  const tokens = useTokens();
  const create = useCreateToken();
  const form = useForm({
    mode: "uncontrolled",
    initialValues: { name: "" },
    validate: { name: isNotEmpty("What is it for? For example: laptop, nightly import") },
  });
  return (
    <Stack>
      <Section title="A new token" description="For scripts: acts in your name and with your role.">
        <form
          onSubmit={form.onSubmit(({ name }) =>
            create.mutate(name, {
              onSuccess: () => form.reset(),
              onError: (error) => form.setErrors(fieldsOf(error)),
            }),
          )}
        >
          <Group align="flex-start">
            <TextInput
              aria-label="Name of the token"
              placeholder="What is it for?"
              w={300}
              data-testid="token-name"
              key={form.key("name")}
              {...form.getInputProps("name")}
            />
            <Button type="submit" loading={create.isPending} data-testid="token-create">
              Make a token
            </Button>
          </Group>
        </form>
        <ErrorNote error={create.error} />
        {create.data && (
          <Alert
            mt="md"
            icon={<IconKey size={18} />}
            title="Copy it now: it is not shown again"
            withCloseButton
            closeButtonLabel="I have copied it"
            onClose={() => create.reset()}
          >
            <Stack gap="xs">
              <Copyable value={create.data.token} block label="Copy the token" data-testid="token-value" />
              <Text size="sm">Try it:</Text>
              <Copyable
                block
                label="Copy the command"
                value={`curl -H "Authorization: Bearer ${create.data.token}" ${window.location.origin}/api/datasets`}
              />
              <Text size="xs" c="dimmed">
                All that can be asked for: {window.location.origin}/api/openapi.json
              </Text>
            </Stack>
          </Alert>
        )}
      </Section>
      <Loaded query={tokens}>
        {(list) => (
          <Card padding={list.length > 0 ? 0 : "md"}>
            {list.length === 0 ? (
              <EmptyState icon={IconKey} title="No tokens">
                Make one above to use the studio from a script.
              </EmptyState>
            ) : (
              <DataTable
                label="API tokens"
                rows={list}
                columns={COLUMNS}
                rowKey={(token) => token.id}
                rowTestId="token-row"
              />
            )}
          </Card>
        )}
      </Loaded>
    </Stack>
  );
}
