import { Anchor, Badge, Box, Group, Radio, SimpleGrid, Text } from "@mantine/core";
import { useState } from "react";

import { Section } from "@/ui/Section";

import classes from "./core/Choices.module.css";
import type { Stage, TrainForm } from "./form";
import { STAGES } from "./core/StageBadge";
import type { DraftForm } from "./useDraft";

interface Option {
  value: string;
  title: string;
  text: string;
  badge?: string;
}

/** Radio buttons as cards, each with what it means. */
function Cards({
  label,
  value,
  options,
  onChange,
  cols,
  testId,
}: {
  label: string;
  value: string;
  options: readonly Option[];
  onChange: (value: string) => void;
  cols: number;
  testId: string;
}) {
  return (
    <Radio.Group aria-label={label} value={value} onChange={onChange}>
      <SimpleGrid cols={{ base: 1, sm: cols }} spacing="sm">
        {options.map((option) => (
          <Radio.Card
            key={option.value}
            value={option.value}
            className={classes.card}
            p="sm"
            data-testid={`${testId}-${option.value}`}
          >
            <Group wrap="nowrap" align="flex-start" gap="sm">
              <Radio.Indicator mt={2} />
              <Box style={{ minWidth: 0 }}>
                <Group gap="xs">
                  <Text size="sm" fw={600}>
                    {option.title}
                  </Text>
                  {option.badge && <Badge size="xs">{option.badge}</Badge>}
                </Group>
                <Text size="xs" c="dimmed" mt={2}>
                  {option.text}
                </Text>
              </Box>
            </Group>
          </Radio.Card>
        ))}
      </SimpleGrid>
    </Radio.Group>
  );
}

export function StageChoice({ form, draft }: { form: TrainForm; draft: DraftForm }) {
  return (
    <Section title="Stage" data-testid="run-stage">
      <Cards
        label="Stage"
        testId="stage"
        cols={2}
        value={String(draft.draft.stage)}
        onChange={(value) => draft.setStage(Number(value) as Stage)}
        options={form.stages.map((stage) => ({
          value: String(stage),
          title: `Stage ${stage}: ${STAGES[stage]?.title.toLowerCase() ?? ""}`,
          text: STAGES[stage]?.text ?? "",
        }))}
      />
    </Section>
  );
}

const OPEN_PRESETS = 3;
const NONE = "";

export function PresetChoice({ form, draft }: { form: TrainForm; draft: DraftForm }) {
  const [more, setMore] = useState(false);
  const { preset, stage } = draft.draft;
  const options = form.presets
    .filter(({ values }) => values[stage] !== undefined)
    .map(({ name, title, description }): Option => ({ value: name, title, text: description }));
  const all: Option[] = [
    ...options,
    { value: NONE, title: "None", text: "The plain defaults of every field, to fill in yourself." },
  ];
  const folded = !more && all.slice(0, OPEN_PRESETS).some(({ value }) => value === (preset ?? NONE));
  return (
    <Section
      title="Preset"
      description="Fills in every setting; what you change below stays when you switch."
      actions={
        <Anchor component="button" type="button" size="sm" onClick={() => setMore(!more)} aria-expanded={!folded}>
          {folded ? `${all.length - OPEN_PRESETS} more` : "Fewer"}
        </Anchor>
      }
      data-testid="run-preset"
    >
      <Cards
        label="Preset"
        testId="preset"
        cols={3}
        value={preset ?? NONE}
        onChange={(value) => draft.setPreset(value === NONE ? null : value)}
        options={folded ? all.slice(0, OPEN_PRESETS) : all}
      />
    </Section>
  );
}
