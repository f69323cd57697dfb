import { Card, Group, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

interface Props {
  title: string;
  description?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  /** no padding around the content: for tables */
  flush?: boolean;
  "data-testid"?: string;
}

/** A card with a heading. */
export function Section({ title, description, actions, children, flush = false, ...props }: Props) {
  return (
    <Card component="section" aria-label={title} {...props}>
      <Group justify="space-between" align="flex-start" mb="sm" gap="sm">
        <div style={{ flex: description === undefined ? "0 1 auto" : "1 1 14rem", minWidth: 0 }}>
          <Title order={2}>{title}</Title>
          {description !== undefined && (
            <Text c="dimmed" size="sm" component="div">
              {description}
            </Text>
          )}
        </div>
        {actions !== undefined && <div style={{ flexShrink: 0 }}>{actions}</div>}
      </Group>
      {flush ? <Card.Section>{children}</Card.Section> : children}
    </Card>
  );
}
