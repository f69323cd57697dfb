import { TextInput } from "@mantine/core";
import { IconSearch } from "@tabler/icons-react";

import { useFilters } from "./search";

interface Props {
  label: string;
  placeholder: string;
  testId: string;
}

/** The words that a list is searched for, kept in the address. */
export function SearchField({ label, placeholder, testId }: Props) {
  const [search, change] = useFilters();
  return (
    <TextInput
      aria-label={label}
      placeholder={placeholder}
      leftSection={<IconSearch size={16} />}
      value={search.get("q") ?? ""}
      onChange={(event) => change("q", event.currentTarget.value)}
      maxLength={200}
      w={240}
      data-testid={testId}
    />
  );
}
