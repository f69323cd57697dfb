import { Anchor, SegmentedControl, Stack, Text } from "@mantine/core";
import { IconUsers } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";

import { useCan } from "@/api/queries";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatCount, formatPercent, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";
import { Time } from "@/ui/Time";

import { findAddress } from "./filters";
import { useAgreement, usePeople, type Agreement, type PersonFigures } from "@/features/labels/core/hooks";
import { useLabelledDataset } from "@/features/labels/core/dataset";

const SPANS = [
  { value: "7", label: "7 days" },
  { value: "30", label: "30 days" },
  { value: "all", label: "All time" },
];

/** What each person did, for administrators; how far two people agree, for everybody. */
export function PeoplePage() {
  const { id } = useLabelledDataset();
  const admin = useCan("admin");
  return (
    <Stack>
      {admin ? (
        <People datasetId={id} />
      ) : (
        <Text size="sm" c="dimmed" data-testid="people-hidden">
          What each person did is shown to administrators.
        </Text>
      )}
      <AgreementSection datasetId={id} />
    </Stack>
  );
}

function People({ datasetId }: { datasetId: string }) {
  const [span, setSpan] = useState("30");
  const query = usePeople(datasetId, span === "all" ? null : Number(span), true);
  return (
    <Section
      title="People"
      description="In this dataset. Agreement is with the other person, over the episodes that two people labelled: F1 of boundaries within 25 steps, kappa of texts over steps."
      actions={
        <SegmentedControl
          size="xs"
          value={span}
          onChange={setSpan}
          data={SPANS}
          aria-label="Period"
          data-testid="people-span"
        />
      }
    >
      <Loaded query={query}>
        {(people) =>
          people.length === 0 ? (
            <EmptyState icon={IconUsers} title="No activity in this period">
              Choose a longer period.
            </EmptyState>
          ) : (
            <DataTable
              label="People"
              rows={people}
              columns={peopleColumns(datasetId)}
              rowKey={({ user_id, name }) => user_id ?? name}
              rowTestId="person-row"
              minWidth={820}
            />
          )
        }
      </Loaded>
    </Section>
  );
}

function peopleColumns(datasetId: string): Column<PersonFigures>[] {
  return [
    {
      key: "name",
      header: "Person",
      sort: ({ name }) => name,
      cell: ({ name, user_id }) =>
        user_id === null ? (
          name
        ) : (
          <Anchor component={Link} to={findAddress(datasetId, { who: user_id })} size="sm" fw={600}>
            {name}
          </Anchor>
        ),
    },
    {
      key: "submitted",
      header: "Submitted",
      align: "right",
      sort: ({ submitted }) => submitted,
      cell: ({ submitted, segments, steps }) => (
        <>
          <Text size="sm">{plural(submitted, "time")}</Text>
          <Text size="xs" c="dimmed">
            {plural(segments, "substep")}, {plural(steps, "step")}
          </Text>
        </>
      ),
    },
    count("published", "Published", ({ published }) => published),
    count("reviews", "Reviewed", ({ reviews }) => reviews),
    share("rejected", "Sent back", ({ rejection_rate }) => rejection_rate),
    share("edited", "Proposals edited", ({ edit_rate }) => edit_rate),
    {
      key: "agreement",
      header: "Agreement",
      align: "right",
      sort: ({ f1_25 }) => f1_25,
      cell: ({ doubles, f1_10, f1_25, kappa }) =>
        f1_10 === null || f1_25 === null || kappa === null ? (
          <Text size="sm">-</Text>
        ) : (
          <>
            <Text size="sm">
              F1 {formatPercent(f1_25)}, kappa {kappa.toFixed(2)}
            </Text>
            <Text size="xs" c="dimmed">
              {formatPercent(f1_10)} within 10 steps, {plural(doubles, "episode")}
            </Text>
          </>
        ),
    },
    {
      key: "last",
      header: "Last active",
      sort: ({ last_active }) => last_active,
      cell: ({ last_active }) => (
        <Text size="sm" component="div">
          <Time value={last_active} />
        </Text>
      ),
    },
  ];
}

function count<Row>(key: string, header: string, of: (row: Row) => number): Column<Row> {
  return { key, header, align: "right", sort: of, cell: (row) => <Text size="sm">{formatCount(of(row))}</Text> };
}

/** null: nothing to divide by */
function share<Row>(key: string, header: string, of: (row: Row) => number | null): Column<Row> {
  const text = (row: Row) => {
    const value = of(row);
    return value === null ? "-" : formatPercent(value);
  };
  return { key, header, align: "right", sort: of, cell: (row) => <Text size="sm">{text(row)}</Text> };
}

function AgreementSection({ datasetId }: { datasetId: string }) {
  const query = useAgreement(datasetId);
  return (
    <Section
      title="Agreement"
      description="Of episodes that two people labelled, the second without seeing the first's labels."
    >
      <Loaded query={query}>
        {(agreement) => (
          <Stack gap="sm" data-testid="agreement" data-pairs={agreement.pairs.length}>
            <Text size="sm">{agreementText(agreement)}</Text>
            {agreement.pairs.length > 0 && (
              <DataTable
                label="Episodes labelled twice"
                rows={agreement.pairs}
                columns={PAIRS}
                rowKey={({ episode_id, tier }) => `${episode_id}-${tier}`}
                rowTestId="pair-row"
                minWidth={720}
              />
            )}
          </Stack>
        )}
      </Loaded>
    </Section>
  );
}

function agreementText({ pairs, boundaries, kappa, rejection_rate, edit_rate }: Agreement): string {
  const parts = [
    pairs.length === 0
      ? "No episode was labelled by two people yet."
      : `${plural(pairs.length, "episode")} labelled twice: boundaries agree ${(boundaries ?? [])
          .map(({ tolerance, f1 }) => `${formatPercent(f1)} within ${tolerance} steps (F1)`)
          .join(", ")}, kappa over steps ${kappa === null ? "unknown" : kappa.toFixed(2)}.`,
    rejection_rate === null ? null : `${formatPercent(rejection_rate)} of the reviews sent labels back.`,
    edit_rate === null
      ? null
      : `${formatPercent(edit_rate)} of the machine's proposals were edited before they were kept.`,
  ];
  return parts.filter((part) => part !== null).join(" ");
}

type Pair = Agreement["pairs"][number];

const PAIRS: Column<Pair>[] = [
  {
    key: "number",
    header: "Episode",
    sort: ({ number }) => number,
    cell: ({ episode_id, number, tier }) => (
      <Anchor
        component={Link}
        to={`/episodes/${episode_id}?beside=1${tier === "plan" ? "&tier=plan" : ""}`}
        fw={600}
        size="sm"
        data-testid="pair-open"
      >
        {number}
      </Anchor>
    ),
  },
  { key: "first", header: "First", sort: ({ first_name }) => first_name, cell: ({ first_name }) => first_name ?? "-" },
  {
    key: "second",
    header: "Second",
    sort: ({ second_name }) => second_name,
    cell: ({ second_name }) => second_name ?? "-",
  },
  share("same", "Same steps", ({ same_steps }) => same_steps),
  share("ten", "F1 at 10 steps", ({ boundaries }) => boundaries[0]?.f1 ?? null),
  share("twentyfive", "F1 at 25 steps", ({ boundaries }) => boundaries[1]?.f1 ?? null),
  {
    key: "kappa",
    header: "Kappa",
    align: "right",
    sort: ({ kappa }) => kappa,
    cell: ({ kappa }) => <Text size="sm">{kappa.toFixed(2)}</Text>,
  },
];
