import { Group, Kbd, Modal, SimpleGrid, Stack, Text, Title } from "@mantine/core";

import { helpGroups, keyText, type Action } from "./actions";

interface Props {
  opened: boolean;
  onClose: () => void;
  actions: readonly Action[];
}

/** All keys, from the same list that they are performed from. */
export function HelpDialog({ opened, onClose, actions }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keys" size="xl">
      <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="xl" data-testid="help-dialog">
        {helpGroups(actions).map(({ group, actions }) => (
          <Stack key={group} gap={6}>
            <Title order={3}>{group}</Title>
            {actions.map((action) => (
              <Group key={action.id} justify="space-between" wrap="nowrap" gap="md">
                <Text size="sm">{action.label}</Text>
                <Group gap={4} wrap="nowrap">
                  {action.keyText !== undefined ? (
                    <Kbd>{action.keyText}</Kbd>
                  ) : (
                    action.keys.map((key) => <Kbd key={key}>{keyText(key)}</Kbd>)
                  )}
                </Group>
              </Group>
            ))}
          </Stack>
        ))}
      </SimpleGrid>
      <Text size="sm" c="dimmed" mt="md">
        On the timeline: Ctrl and the wheel zoom, the wheel alone moves on, a boundary is dragged. Keys rest while a
        text field has the focus.
      </Text>
    </Modal>
  );
}
