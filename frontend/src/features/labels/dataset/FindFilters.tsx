import { Autocomplete, Button, Card, Checkbox, Group, NumberInput, Select } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useState } from "react";
import { useSearchParams } from "react-router";

import { useCan, useMe } from "@/api/queries";

import { FILTERS, withFilter, type Filter } from "./filters";
import { useAnnotators, useVocabulary, type Tier } from "@/features/labels/core/hooks";
import { FINDINGS, PROVENANCES } from "@/features/labels/core/words";
import { WORK_STATES } from "@/features/labels/core/WorkBadge";

const TYPING_MS = 300;

/** What is looked for; every change counts at once. */
export function FindFilters({ datasetId, tier }: { datasetId: string; tier: Tier }) {
  const [search, setSearch] = useSearchParams();
  const vocabulary = useVocabulary(datasetId, tier).data;
  const people = usePeopleToChoose();
  // texts while they are typed; the address follows
  const [typed, setTyped] = useState<Partial<Record<Filter, string>>>({});
  const set = (name: Filter, value: string | null) =>
    setSearch((old) => withFilter(old, name, value), { replace: true });
  const setSoon = useDebouncedCallback(set, TYPING_MS);
  const type = (name: Filter, value: string) => {
    setTyped((old) => ({ ...old, [name]: value }));
    setSoon(name, value);
  };
  const shown = (name: Filter) => typed[name] ?? search.get(name) ?? "";
  const texts = [...(vocabulary?.entries.map(({ text }) => text) ?? []), ...(vocabulary?.strangers ?? [])];
  const any = FILTERS.some((name) => search.get(name) !== null);

  return (
    <Card component="search" aria-label="Find substeps">
      <Group align="flex-end" gap="sm">
        <Autocomplete
          label="Text"
          placeholder="any"
          data={texts}
          limit={9}
          maxLength={400}
          value={shown("text")}
          onChange={(value) => type("text", value)}
          style={{ flex: "2 1 14rem" }}
          data-testid="find-text-filter"
        />
        <Checkbox
          label="The whole text"
          checked={search.get("exact") === "1"}
          onChange={(event) => set("exact", event.currentTarget.checked ? "1" : null)}
          pb={8}
          data-testid="find-exact"
        />
        <NumberInput
          label="From, seconds"
          placeholder="any"
          min={0}
          step={0.5}
          value={shown("from")}
          onChange={(value) => type("from", String(value))}
          w={116}
          data-testid="find-from"
        />
        <NumberInput
          label="To, seconds"
          placeholder="any"
          min={0}
          step={0.5}
          value={shown("to")}
          onChange={(value) => type("to", String(value))}
          w={116}
          data-testid="find-to"
        />
        <Choice label="Person" name="who" choices={people} set={set} />
        <Choice label="Warning" name="warning" choices={optionsOf(FINDINGS, ({ label }) => label)} set={set} />
        <Choice label="State" name="state" choices={optionsOf(WORK_STATES, ({ label }) => label)} set={set} />
        <Choice label="Provenance" name="provenance" choices={optionsOf(PROVENANCES, (label) => label)} set={set} />
        <Button
          variant="subtle"
          color="gray"
          disabled={!any}
          onClick={() => {
            setTyped({});
            setSearch(tier === "plan" ? { tier } : {}, { replace: true });
          }}
          data-testid="find-clear"
        >
          Clear
        </Button>
      </Group>
    </Card>
  );
}

interface Option {
  value: string;
  label: string;
}

interface ChoiceProps {
  label: string;
  name: Filter;
  choices: Option[];
  set: (name: Filter, value: string | null) => void;
}

function Choice({ label, name, choices, set }: ChoiceProps) {
  const [search] = useSearchParams();
  return (
    <Select
      label={label}
      placeholder="any"
      clearable
      clearButtonProps={{ "aria-label": `Any ${label.toLowerCase()}` }}
      data={choices}
      value={search.get(name)}
      onChange={(value) => set(name, value)}
      style={{ flex: "1 1 9rem", maxWidth: 220 }}
      data-testid={`find-${name}`}
    />
  );
}

function optionsOf<Key extends string, Value>(known: Record<Key, Value>, label: (value: Value) => string): Option[] {
  return (Object.entries(known) as [Key, Value][]).map(([value, about]) => ({ value, label: label(about) }));
}

/** Operators may look for anybody's labels, others for their own. */
function usePeopleToChoose(): Option[] {
  const me = useMe();
  const { data } = useAnnotators(useCan("operator"));
  if (data) return data.map(({ id, name }) => ({ value: id, label: name }));
  return me ? [{ value: me.id, label: `${me.name} (me)` }] : [];
}
