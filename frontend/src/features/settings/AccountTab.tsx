import { Button, Group, PasswordInput, SimpleGrid, Stack, Text } from "@mantine/core";
import { isNotEmpty, useForm } from "@mantine/form";

import { fieldsOf } from "@/api/client";
import { useMe } from "@/api/queries";
import { checkPassword, PASSWORD_MIN } from "@/features/auth/core/fields";
import { notifyDone } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { Facts } from "@/ui/Facts";
import { Section } from "@/ui/Section";
import { Time } from "@/ui/Time";

import { endedText } from "./ended";
import { useChangePassword } from "./hooks";
import { ROLES } from "./roles";

export function AccountTab() {
  const me = useMe();
  const change = useChangePassword();
  const form = useForm({
    mode: "uncontrolled",
    initialValues: { current: "", new: "" },
    validate: { current: isNotEmpty("Your current password"), new: checkPassword },
  });
  if (!me) return null;
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }}>
      <Section title="You">
        <Facts
          facts={[
            ["Name", me.name],
            ["Role", me.role],
            ["Allowed to", ROLES[me.role]],
            ["Member since", <Time key="t" value={me.created_at} />],
          ]}
          span={3}
        />
      </Section>
      <Section title="Password">
        <form
          onSubmit={form.onSubmit((values) =>
            change.mutate(values, {
              onSuccess: (ended) => {
                form.reset();
                notifyDone(`The password is changed. ${endedText(ended)}`);
              },
              onError: (error) => form.setErrors(fieldsOf(error)),
            }),
          )}
        >
          <Stack gap="sm">
            <PasswordInput
              label="Current password"
              autoComplete="current-password"
              data-testid="password-current"
              key={form.key("current")}
              {...form.getInputProps("current")}
            />
            <PasswordInput
              label="New password"
              description={`At least ${PASSWORD_MIN} characters`}
              autoComplete="new-password"
              data-testid="password-new"
              key={form.key("new")}
              {...form.getInputProps("new")}
            />
            <ErrorNote error={change.error} />
            <Group justify="space-between" gap="sm">
              <Text size="xs" c="dimmed" flex="1 1 220px">
                Ends at once: your other browsers, all your API tokens, and links you made that nobody has used.
              </Text>
              <Button type="submit" loading={change.isPending} data-testid="password-submit">
                Change the password
              </Button>
            </Group>
          </Stack>
        </form>
      </Section>
    </SimpleGrid>
  );
}
