import { Button, CloseButton, Group, Kbd, Modal, SimpleGrid, Stack, Switch, Text, Title } from "@mantine/core";
import { useEffect, useEffectEvent, useState } from "react";

import { chordOf, helpGroups, isModifier, keyText, withKey, type Action, type Bindings } from "./actions";
import { changePreferences } from "./usePreferences";

interface Props {
  opened: boolean;
  onClose: () => void;
  /** with the keys they have now */
  actions: readonly Action[];
  bindings: Bindings;
}

/** All keys, from the same list that they are performed from; and their change. */
export function HelpDialog({ opened, onClose, actions, bindings }: Props) {
  const [changing, setChanging] = useState(false);
  const [waiting, setWaiting] = useState<string | null>(null);

  const catchKey = useEffectEvent((event: KeyboardEvent) => {
    if (isModifier(event)) return;
    event.preventDefault();
    event.stopPropagation();
    if (waiting !== null && event.key !== "Escape")
      changePreferences({ keys: withKey(actions, bindings, waiting, chordOf(event)) });
    setWaiting(null);
  });
  useEffect(() => {
    if (waiting === null) return;
    const listener = (event: KeyboardEvent) => catchKey(event);
    // before the dialog, which Escape would close
    window.addEventListener("keydown", listener, true);
    return () => window.removeEventListener("keydown", listener, true);
  }, [waiting]);

  return (
    <Modal opened={opened} onClose={onClose} title="Keys" size="xl">
      <Group justify="space-between" mb="sm">
        <Switch
          label="Change keys"
          checked={changing}
          onChange={(event) => {
            setChanging(event.currentTarget.checked);
            setWaiting(null);
          }}
          data-testid="keys-change"
        />
        {Object.keys(bindings).length > 0 && (
          <Button size="xs" variant="default" onClick={() => changePreferences({ keys: {} })} data-testid="keys-reset">
            Restore the defaults
          </Button>
        )}
      </Group>
      <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="xl" data-testid="help-dialog">
        {helpGroups(actions, changing).map(({ group, actions: members }) => (
          <Stack key={group} gap={6}>
            <Title order={3}>{group}</Title>
            {members.map((action) => (
              <Group key={action.id} justify="space-between" wrap="nowrap" gap="md">
                <Text size="sm">{action.label}</Text>
                <Group gap={4} wrap={changing ? "wrap" : "nowrap"} justify="flex-end">
                  {changing ? (
                    <Changeable
                      action={action}
                      waiting={waiting === action.id}
                      wait={() => setWaiting(action.id)}
                      remove={(key) =>
                        changePreferences({
                          keys: { ...bindings, [action.id]: action.keys.filter((each) => each !== key) },
                        })
                      }
                    />
                  ) : (
                    <Keys action={action} />
                  )}
                </Group>
              </Group>
            ))}
          </Stack>
        ))}
      </SimpleGrid>
      <Text size="sm" c="dimmed" mt="md">
        On the timeline: Ctrl and the wheel zoom, the wheel alone scrolls, boundaries can be dragged. Over a camera:
        Ctrl and the wheel magnify. Keys do nothing while a text field has the focus. Digits go by their position on the
        keyboard, letters and signs by what they print, and on keyboards of other scripts by their position too.
      </Text>
    </Modal>
  );
}

function Keys({ action }: { action: Action }) {
  if (action.keyText !== undefined && !action.custom) return <Kbd>{action.keyText}</Kbd>;
  if (action.keys.length === 0)
    return (
      <Text size="sm" c="dimmed">
        none
      </Text>
    );
  return action.keys.map((key) => <Kbd key={key}>{keyText(key)}</Kbd>);
}

interface ChangeableProps {
  action: Action;
  waiting: boolean;
  wait: () => void;
  remove: (key: string) => void;
}

function Changeable({ action, waiting, wait, remove }: ChangeableProps) {
  return (
    <>
      {action.keys.map((key) => (
        <Group key={key} gap={0} wrap="nowrap">
          <Kbd>{keyText(key)}</Kbd>
          <CloseButton size="xs" aria-label={`${action.label}: remove ${keyText(key)}`} onClick={() => remove(key)} />
        </Group>
      ))}
      <Button
        size="compact-xs"
        variant={waiting ? "filled" : "default"}
        onClick={wait}
        aria-label={`${action.label}: add a key`}
        data-testid={`rebind-${action.id}`}
      >
        {waiting ? "Press a key" : "Add"}
      </Button>
    </>
  );
}
