import { Center, Stack, Text, ThemeIcon, Title } from "@mantine/core";
import type { ComponentType, ReactNode } from "react";

interface Props {
  icon: ComponentType<{ size?: number | string; stroke?: number }>;
  title: string;
  /** what to do next */
  children?: ReactNode;
  action?: ReactNode;
}

/** Where a list would be: what belongs here and how to get the first one. */
export function EmptyState({ icon: Icon, title, children, action }: Props) {
  return (
    <Center mih={240} p="lg" data-testid="empty-state">
      <Stack align="center" gap="xs" maw={480}>
        <ThemeIcon size={56} radius="xl" variant="light">
          <Icon size={28} stroke={1.5} />
        </ThemeIcon>
        <Title order={2} ta="center">
          {title}
        </Title>
        {children !== undefined && (
          <Text c="dimmed" ta="center" component="div">
            {children}
          </Text>
        )}
        {action !== undefined && <div style={{ marginTop: 8 }}>{action}</div>}
      </Stack>
    </Center>
  );
}
