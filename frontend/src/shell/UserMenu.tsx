import {
  Avatar,
  Group,
  Menu,
  SegmentedControl,
  Text,
  UnstyledButton,
  useMantineColorScheme,
  VisuallyHidden,
} from "@mantine/core";
import { IconLogout, IconUserCog } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { Link } from "react-router";

import { api, ok, type Schema } from "@/api/client";
import { events, queryClient } from "@/api/queries";
import { notifyError } from "@/ui/confirm";

interface Props {
  me: Schema<"UserOut">;
  narrow: boolean;
}

export function UserMenu({ me, narrow }: Props) {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const signOut = useMutation({
    mutationFn: () => ok(api.POST("/api/auth/logout")),
    onSuccess: () => {
      events.stop();
      queryClient.clear();
      window.location.assign("/sign-in");
    },
    onError: (error) => notifyError(error),
  });
  return (
    <Menu position="top-start" width={260} shadow="md" withinPortal>
      <Menu.Target>
        <UnstyledButton data-testid="user-menu" p={6} w="100%" style={{ borderRadius: "var(--mantine-radius-md)" }}>
          <Group gap="xs" wrap="nowrap" justify={narrow ? "center" : undefined}>
            <Avatar name={me.name} color="studio" size={30} radius="xl" />
            {!narrow && (
              <div style={{ minWidth: 0 }}>
                <Text size="sm" fw={500} truncate lh={1.25}>
                  {me.name}
                </Text>
                <Text size="xs" c="dimmed" lh={1.25}>
                  {me.role}
                </Text>
              </div>
            )}
            <VisuallyHidden>{narrow ? `${me.name}, ${me.role}` : ""} account and appearance</VisuallyHidden>
          </Group>
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Appearance</Menu.Label>
        <SegmentedControl
          fullWidth
          size="xs"
          aria-label="Colour scheme"
          data-testid="colour-scheme"
          value={colorScheme}
          onChange={(value) => setColorScheme(value)}
          data={[
            { value: "auto", label: "Auto" },
            { value: "light", label: "Light" },
            { value: "dark", label: "Dark" },
          ]}
        />
        <Menu.Divider />
        <Menu.Item component={Link} to="/settings" leftSection={<IconUserCog size={16} />}>
          Account and API tokens
        </Menu.Item>
        <Menu.Item
          leftSection={<IconLogout size={16} />}
          onClick={() => signOut.mutate()}
          data-testid="sign-out"
          closeMenuOnClick={false}
        >
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
