import { Button, Group, Stack, Text } from "@mantine/core";
import { IconBook } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";

import { EmptyState } from "@/ui/EmptyState";
import { Loaded } from "@/ui/Loaded";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import { GuidelineEditor } from "./GuidelineEditor";
import { GuidelineList } from "./GuidelineList";
import { useVocabulary, type Vocabulary } from "@/features/labels/core/hooks";
import { useLabelledDataset } from "@/features/labels/core/dataset";
import { TierSwitch, useTier } from "./tier";

/** What each text means, with images: the page that all who label go by. */
export function GuidelinePage() {
  const dataset = useLabelledDataset();
  const tier = useTier();
  const query = useVocabulary(dataset.id, tier);
  return (
    <Stack>
      <TierSwitch datasetId={dataset.id} />
      <Loaded query={query} lines={8}>
        {(vocabulary) => <Guideline key={tier} vocabulary={vocabulary} />}
      </Loaded>
    </Stack>
  );
}

function Guideline({ vocabulary }: { vocabulary: Vocabulary }) {
  const dataset = useLabelledDataset();
  // what is edited begins from what was there then; saving says so if somebody was faster
  const [edited, setEdited] = useState<Vocabulary | null>(null);
  const { entries, strangers } = vocabulary;
  if (edited !== null)
    return (
      <GuidelineEditor
        datasetId={dataset.id}
        cameras={dataset.cameras}
        vocabulary={edited}
        current={vocabulary}
        close={() => setEdited(null)}
      />
    );
  return (
    <Section
      title="Guideline"
      description="What each text means and how it looks. Shift+G shows it beside the annotator, where the step that is looked at can be made an example."
      actions={
        <RoleButton
          needs="operator"
          variant="default"
          onClick={() => setEdited(vocabulary)}
          data-testid="guideline-edit"
        >
          Edit
        </RoleButton>
      }
    >
      {entries.length === 0 ? (
        <EmptyState
          icon={IconBook}
          title="No entries yet"
          action={
            <RoleButton needs="operator" onClick={() => setEdited(vocabulary)}>
              Write the first
            </RoleButton>
          }
        >
          List the texts to choose from, and say what each of them means.
        </EmptyState>
      ) : (
        <GuidelineList entries={entries} cameras={dataset.cameras} />
      )}
      {strangers.length > 0 && (
        <Group gap="xs" mt="sm">
          <Text size="sm" c="dimmed">
            In use, but not in the vocabulary: {strangers.slice(0, 8).join("; ")}
            {strangers.length > 8 && ` and ${strangers.length - 8} more`}
          </Text>
          <Button
            component={Link}
            to={`/datasets/${dataset.id}/labels/find?warning=out_of_vocabulary`}
            size="compact-xs"
            variant="default"
          >
            Show them
          </Button>
        </Group>
      )}
    </Section>
  );
}
