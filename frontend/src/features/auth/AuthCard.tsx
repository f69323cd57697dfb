import { Card, Center, Group, Stack, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import type { ReactNode } from "react";

interface Props {
  title: string;
  subtitle?: ReactNode;
  children: ReactNode;
}

/** The one card in the middle of the pages for people who are not signed in. */
export function AuthCard({ title, subtitle, children }: Props) {
  useDocumentTitle(`${title} - DexVLA Studio`);
  return (
    <Center component="main" mih="100vh" p="md">
      <Stack w="100%" maw={400} gap="lg" mb="10vh">
        <Group justify="center" gap="sm">
          <img src="/icon.svg" width={36} height={36} alt="" />
          <Text fw={650} size="xl">
            DexVLA Studio
          </Text>
        </Group>
        <Card shadow="sm" padding="xl">
          <Title order={1} size="h2" mb={subtitle === undefined ? "md" : 4}>
            {title}
          </Title>
          {subtitle !== undefined && (
            <Text c="dimmed" size="sm" mb="md" component="div">
              {subtitle}
            </Text>
          )}
          {children}
        </Card>
      </Stack>
    </Center>
  );
}
