import { Anchor, Box, Breadcrumbs, Group, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import type { ReactNode } from "react";
import { Link } from "react-router";

interface Props {
  title: string;
  /** beside the title: a badge */
  badge?: ReactNode;
  /** one line that says what this page is for, or what this thing is */
  subtitle?: ReactNode;
  /** the pages above this one */
  path?: { label: string; to: string }[];
  /** buttons at the right */
  actions?: ReactNode;
}

export function PageHeader({ title, badge, subtitle, path = [], actions }: Props) {
  useDocumentTitle(`${title} - DexVLA Studio`);
  return (
    <Box component="header" mb="lg">
      {path.length > 0 && (
        <Breadcrumbs mb={4} fz="sm" separator="/">
          {path.map(({ label, to }) => (
            <Anchor key={to} component={Link} to={to} size="sm">
              {label}
            </Anchor>
          ))}
        </Breadcrumbs>
      )}
      <Group justify="space-between" align="flex-start" gap="md">
        <Box style={{ minWidth: 0, flex: "1 1 20rem" }}>
          <Group gap="sm" wrap="nowrap">
            <Title order={1} style={{ overflowWrap: "anywhere" }}>
              {title}
            </Title>
            {badge}
          </Group>
          {subtitle !== undefined && (
            <Text c="dimmed" size="sm" mt={2} component="div">
              {subtitle}
            </Text>
          )}
        </Box>
        {actions !== undefined && <Group gap="xs">{actions}</Group>}
      </Group>
    </Box>
  );
}
