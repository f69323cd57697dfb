import { Alert, Anchor, Checkbox, Group, Stack, Text, Textarea } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";

import type { Schema } from "@/api/client";
import { DataTable, type Column } from "@/ui/DataTable";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import {
  useChangeLabelling,
  useLabelling,
  useTemplate,
  type ChangeResult,
  type Labelling,
  type Tier,
} from "@/features/labels/core/hooks";
import classes from "@/features/labels/core/labelling.module.css";
import { Skipped } from "./Skipped";
import { linesOf } from "@/features/labels/core/words";

/** The usual sequence of texts as proposals on every episode that nobody has labelled. */
export function TemplateSection({ datasetId, tier }: { datasetId: string; tier: Tier }) {
  const query = useLabelling(datasetId);
  return (
    <Section
      title="Apply a template"
      description="Proposes the usual sequence on episodes that have no labels yet. Each proposal is looked at by a person before anything is published."
    >
      <Loaded query={query}>{(labelling) => <Form datasetId={datasetId} tier={tier} labelling={labelling} />}</Loaded>
    </Section>
  );
}

function Form({ datasetId, tier, labelling }: { datasetId: string; tier: Tier; labelling: Labelling }) {
  const look = useTemplate(datasetId);
  const apply = useTemplate(datasetId);
  const keep = useChangeLabelling(datasetId);
  const [lines, setLines] = useState(tier === "substep" ? labelling.template.join("\n") : "");
  const [align, setAlign] = useState(tier === "substep");
  const texts = linesOf(lines);
  const own = JSON.stringify(texts) === JSON.stringify(labelling.template);
  const changed = () => {
    look.reset();
    apply.reset();
    keep.reset();
  };
  return (
    <Stack gap="sm">
      <Textarea
        label="Texts in order, one per line"
        autosize
        minRows={3}
        maxRows={14}
        value={lines}
        placeholder={"reach for the cube\ngrasp the cube\nlift the cube"}
        onChange={(event) => {
          setLines(event.currentTarget.value);
          changed();
        }}
        data-testid="template-texts"
      />
      {tier === "substep" && (
        <Checkbox
          label="Cut where the motion suggests it"
          description="At most 200 episodes at a time. Otherwise all parts have the same length."
          checked={align}
          onChange={(event) => {
            setAlign(event.currentTarget.checked);
            changed();
          }}
          data-testid="template-align"
        />
      )}
      <Group gap="xs">
        <RoleButton
          needs="operator"
          variant="default"
          disabled={texts.length === 0}
          loading={look.isPending}
          onClick={() => look.mutate({ tier, texts, align, preview: true })}
          data-testid="template-preview"
        >
          Preview
        </RoleButton>
        {tier === "substep" && (
          <RoleButton
            needs="operator"
            variant="subtle"
            disabled={own}
            loading={keep.isPending}
            onClick={() => keep.mutate({ template: texts })}
            data-testid="template-keep"
          >
            {own && texts.length > 0 ? "This is the dataset's template" : "Keep as the dataset's template"}
          </RoleButton>
        )}
      </Group>
      <ErrorNote error={look.error ?? keep.error} />
      {look.data && apply.data === undefined && (
        <Fit
          result={look.data}
          pending={apply.isPending}
          error={apply.error}
          apply={() => apply.mutate({ tier, texts, align, preview: false })}
        />
      )}
      {apply.data && (
        <Alert color="teal" title={`Proposed in ${plural(apply.data.changed, "episode")}`} data-testid="template-done">
          The change is listed below and can be undone there.
          <Skipped skipped={apply.data.skipped} />
        </Alert>
      )}
    </Stack>
  );
}

interface FitProps {
  result: ChangeResult;
  pending: boolean;
  error: unknown;
  apply: () => void;
}

/** How well the template fits which episodes. */
function Fit({ result: { changed, skipped, aligned }, pending, error, apply }: FitProps) {
  const odd = aligned.filter(({ mismatch }) => mismatch !== null);
  return (
    <Stack gap="xs" data-testid="template-fit" data-changed={changed} data-mismatches={odd.length}>
      <Text size="sm">
        {changed === 0 ? "It fits no episode." : `${plural(changed, "episode")} would get it as proposals.`}
        {aligned.length > 0 &&
          (odd.length === 0
            ? " The motion of each suggests as many boundaries as the template has."
            : ` In ${odd.length} of them the motion suggests a different number of boundaries than the template has; look at those first.`)}
      </Text>
      {aligned.length > 0 && (
        <div className={classes.scroll}>
          <DataTable
            label="How it fits"
            rows={aligned}
            columns={FITS}
            rowKey={({ episode_id }) => episode_id}
            rowTestId="template-episode"
            minWidth={520}
          />
        </div>
      )}
      <Skipped skipped={skipped} />
      <ErrorNote error={error} />
      {changed > 0 && (
        <Group>
          <RoleButton needs="operator" loading={pending} onClick={apply} data-testid="template-apply">
            Propose it in {plural(changed, "episode")}
          </RoleButton>
        </Group>
      )}
    </Stack>
  );
}

const FITS: Column<Schema<"AlignedOut">>[] = [
  {
    key: "number",
    header: "Episode",
    sort: ({ number }) => number,
    cell: ({ episode_id, number }) => (
      <Anchor component={Link} to={`/episodes/${episode_id}`} fw={600} size="sm">
        {number}
      </Anchor>
    ),
  },
  {
    key: "found",
    header: "Boundaries found",
    align: "right",
    sort: ({ found }) => found,
    cell: ({ found, expected }) => `${found} of ${expected}`,
  },
  { key: "guessed", header: "Guessed", align: "right", sort: ({ guessed }) => guessed, cell: ({ guessed }) => guessed },
  {
    key: "mismatch",
    header: "",
    sort: ({ mismatch }) => mismatch,
    cell: ({ mismatch }) => (
      <Text size="sm" c={mismatch === null ? "dimmed" : undefined}>
        {mismatch ?? "fits"}
      </Text>
    ),
  },
];
