import { Alert, Badge, Button, Card, Group, Menu, Modal, Select, Stack, Text } from "@mantine/core";
import { IconDots, IconUserPlus } from "@tabler/icons-react";
import { useState } from "react";

import type { Schema } from "@/api/client";
import { useMe } from "@/api/queries";
import { confirm } from "@/ui/confirm";
import { Copyable } from "@/ui/Copyable";
import { DataTable, type Column } from "@/ui/DataTable";
import { ErrorNote } from "@/ui/ErrorNote";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";
import { Time } from "@/ui/Time";

import {
  useChangeUser,
  useInvitations,
  useInvite,
  useResetLink,
  useResets,
  useUsers,
  withdraw,
  withdrawReset,
  type Invitation,
  type Reset,
  type User,
} from "./hooks";
import { ROLE_NAMES, ROLES } from "./roles";

export function PeopleTab() {
  const users = useUsers();
  const me = useMe();
  const change = useChangeUser();
  const reset = useResetLink();

  const columns: Column<User>[] = [
    {
      key: "name",
      header: "Name",
      sort: (user) => user.name,
      cell: (user) => (
        <Group gap="xs">
          <Text size="sm" fw={500}>
            {user.name}
          </Text>
          {user.id === me?.id && <Badge>you</Badge>}
          {user.disabled && <Badge color="red">disabled</Badge>}
        </Group>
      ),
    },
    {
      key: "role",
      header: "Role",
      width: 200,
      cell: (user) => (
        <Select
          size="xs"
          aria-label={`Role of ${user.name}`}
          data-testid="user-role"
          allowDeselect={false}
          disabled={user.id === me?.id}
          value={user.role}
          data={ROLE_NAMES}
          onChange={(role) => role && change.mutate({ id: user.id, role })}
        />
      ),
    },
    { key: "since", header: "Member since", width: 130, cell: (user) => <Time value={user.created_at} /> },
    {
      key: "actions",
      header: "",
      width: 60,
      align: "right",
      cell: (user) => (
        <Menu position="bottom-end" withinPortal>
          <Menu.Target>
            <Button
              variant="subtle"
              color="gray"
              size="compact-sm"
              aria-label={`What to do with ${user.name}`}
              data-testid="user-actions"
            >
              <IconDots size={16} />
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => reset.mutate(user)} data-testid="user-reset">
              Make a link for a new password
            </Menu.Item>
            <Menu.Item
              color={user.disabled ? undefined : "red"}
              disabled={user.id === me?.id}
              data-testid="user-disable"
              onClick={() =>
                user.disabled
                  ? change.mutate({ id: user.id, disabled: false })
                  : confirm({
                      title: `Disable ${user.name}?`,
                      children:
                        "They are signed out everywhere at once, and their API tokens and the links they made end for good. What they recorded, labelled and trained stays. You can enable the account again.",
                      confirm: "Disable the account",
                      action: () => change.mutateAsync({ id: user.id, disabled: true }).catch(() => undefined),
                    })
              }
            >
              {user.disabled ? "Enable the account" : "Disable the account"}
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      ),
    },
  ];

  return (
    <Stack>
      <Section title="People" flush>
        <Loaded query={users}>
          {(list) => (
            <DataTable label="People" rows={list} columns={columns} rowKey={(user) => user.id} rowTestId="user-row" />
          )}
        </Loaded>
      </Section>
      <Resets />
      <Invitations />
      <Modal
        opened={reset.data !== undefined}
        onClose={() => reset.reset()}
        title={`New password for ${reset.variables?.name ?? ""}`}
      >
        {reset.data && (
          <Stack>
            <Text size="sm">
              Send this link to them. It works once, until <Time value={reset.data.expires_at} />, and is not shown
              again. Earlier links for {reset.variables.name} no longer work.
            </Text>
            <Copyable value={reset.data.url} block label="Copy the link" data-testid="reset-link" />
          </Stack>
        )}
      </Modal>
    </Stack>
  );
}

interface Withdrawing<T> {
  testId: string;
  title: (link: T) => string;
  explanation: string;
  action: (id: string) => Promise<void>;
}

/** Of links that somebody made and nobody has used: `first`, by whom and when, and a button that withdraws one. */
function linkColumns<T extends Invitation | Reset>(first: Column<T>, withdrawing: Withdrawing<T>): Column<T>[] {
  return [
    first,
    { key: "by", header: "Made by", width: 150, cell: (link) => link.created_by_name },
    { key: "created", header: "Made", width: 140, cell: (link) => <Time value={link.created_at} /> },
    { key: "expires", header: "Expires", width: 140, cell: (link) => <Time value={link.expires_at} /> },
    {
      key: "actions",
      header: "",
      width: 110,
      align: "right",
      cell: (link) => (
        <Button
          size="xs"
          variant="default"
          data-testid={withdrawing.testId}
          aria-label={withdrawing.title(link)}
          onClick={() =>
            confirm({
              title: `${withdrawing.title(link)}?`,
              children: withdrawing.explanation,
              confirm: "Withdraw it",
              action: () => withdrawing.action(link.id),
            })
          }
        >
          Withdraw
        </Button>
      ),
    },
  ];
}

const RESET_COLUMNS = linkColumns<Reset>(
  { key: "user", header: "For", cell: (reset) => reset.user_name },
  {
    testId: "reset-withdraw",
    title: (reset) => `Withdraw the link for ${reset.user_name}`,
    explanation: "It stops working; their password stays as it is. You can make another one at any time.",
    action: withdrawReset,
  },
);

/** Links for a new password that nobody has used; nothing where there are none. */
function Resets() {
  const resets = useResets();
  if (!resets.data?.length) return null;
  return (
    <Section
      title="Links for a new password"
      description="Whoever has one can sign in as that person. A new one voids those before it."
      flush
    >
      <DataTable
        label="Links for a new password that nobody has used yet"
        rows={resets.data}
        columns={RESET_COLUMNS}
        rowKey={(reset) => reset.id}
        rowTestId="reset-row"
      />
    </Section>
  );
}

const INVITATION_COLUMNS = linkColumns<Invitation>(
  { key: "role", header: "Role", cell: (invitation) => invitation.role },
  {
    testId: "invitation-withdraw",
    title: (invitation) => `Withdraw the invitation of a new ${invitation.role}`,
    explanation: "Its link stops working. You can make another one at any time.",
    action: withdraw,
  },
);

function Invitations() {
  const invitations = useInvitations();
  const invite = useInvite();
  const [role, setRole] = useState<Schema<"Role">>("annotator");
  return (
    <Section
      title="Invite somebody"
      description="Makes a link that you send them yourself; whoever opens it chooses a name and a password."
    >
      <Group align="flex-end">
        <Select
          label="Role"
          allowDeselect={false}
          w={180}
          value={role}
          onChange={(value) => value && setRole(value)}
          data={ROLE_NAMES}
          data-testid="invite-role"
        />
        <Button
          leftSection={<IconUserPlus size={16} />}
          loading={invite.isPending}
          onClick={() => invite.mutate(role)}
          data-testid="invite-create"
        >
          Make a link
        </Button>
      </Group>
      <Text size="sm" c="dimmed" mt={6}>
        May {ROLES[role]}.
      </Text>
      <ErrorNote error={invite.error} />
      {invite.data && (
        <Alert mt="md" title="Copy the link now: it is not shown again">
          <Copyable value={invite.data.url} block label="Copy the link" data-testid="invite-link" />
          <Text size="xs" c="dimmed" mt={6}>
            Works once, until <Time value={invite.data.expires_at} />.
          </Text>
        </Alert>
      )}
      <Loaded query={invitations} lines={1}>
        {(list) =>
          list.length > 0 && (
            <Card mt="md" padding={0}>
              <DataTable
                label="Invitations that nobody has used yet"
                rows={list}
                columns={INVITATION_COLUMNS}
                rowKey={(invitation) => invitation.id}
                rowTestId="invitation-row"
              />
            </Card>
          )
        }
      </Loaded>
    </Section>
  );
}
