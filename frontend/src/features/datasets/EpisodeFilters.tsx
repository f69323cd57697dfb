import { Button, Collapse, Group, NumberInput, Select, Stack, TextInput } from "@mantine/core";
import { IconAdjustmentsHorizontal } from "@tabler/icons-react";
import { useState } from "react";

import { useCan, useMe } from "@/api/queries";
import { useAnnotators } from "@/features/labels/core/hooks";
import { SearchField } from "@/ui/SearchField";
import { useFilters } from "@/ui/search";

import { LABELS, MORE, OUTCOMES } from "./episodeFilters";

/** What the list of episodes is narrowed by; all of it is in the address. */
export function EpisodeFilters({ children }: { children: React.ReactNode }) {
  const [search, change] = useFilters();
  const [more, setMore] = useState(MORE.some((name) => search.get(name) !== null));
  const me = useMe();
  const people = useAnnotators(useCan("operator")).data ?? (me ? [me] : []);
  const field = (name: string) => ({
    value: search.get(name) ?? "",
    onChange: (value: string | number) => change(name, String(value)),
  });
  return (
    <Stack gap="xs" mb="md">
      <Group gap="sm">
        <SearchField label="Search episodes" placeholder="Search instructions" testId="episodes-search" />
        <Select
          aria-label="Labels"
          placeholder="Any labels"
          clearable
          w={150}
          data={LABELS.map((value) => ({ value, label: value }))}
          value={search.get("labels")}
          onChange={(value) => change("labels", value)}
          data-testid="episodes-labels"
        />
        <Select
          aria-label="Outcome"
          placeholder="Any outcome"
          clearable
          w={150}
          data={Object.entries(OUTCOMES).map(([value, label]) => ({ value, label }))}
          value={search.get("outcome")}
          onChange={(value) => change("outcome", value)}
          data-testid="episodes-outcome"
        />
        <Button
          variant="subtle"
          color="gray"
          leftSection={<IconAdjustmentsHorizontal size={16} />}
          aria-expanded={more}
          onClick={() => setMore(!more)}
          data-testid="episodes-more"
        >
          More
        </Button>
        <Group gap="xs" ml="auto" mih={36}>
          {children}
        </Group>
      </Group>
      <Collapse expanded={more}>
        <Group gap="sm">
          <Select
            label="Labelled by"
            placeholder="Anybody"
            clearable
            searchable
            w={170}
            data={people.map(({ id, name }) => ({ value: id, label: name }))}
            value={search.get("who")}
            onChange={(value) => change("who", value)}
            data-testid="episodes-who"
          />
          <TextInput
            label="Tag"
            placeholder="Any"
            maxLength={64}
            w={140}
            value={field("tag").value}
            onChange={(event) => change("tag", event.currentTarget.value)}
            data-testid="episodes-tag"
          />
          <NumberInput
            label="Steps, at least"
            placeholder="0"
            min={0}
            w={130}
            {...field("min")}
            data-testid="episodes-min"
          />
          <NumberInput
            label="Steps, at most"
            placeholder="Any"
            min={0}
            w={130}
            {...field("max")}
            data-testid="episodes-max"
          />
          {(["since", "until"] as const).map((name) => (
            <TextInput
              key={name}
              type="date"
              label={name === "since" ? "Taken in since" : "Taken in until"}
              w={160}
              value={field(name).value}
              onChange={(event) => change(name, event.currentTarget.value)}
              data-testid={`episodes-${name}`}
            />
          ))}
        </Group>
      </Collapse>
    </Stack>
  );
}
