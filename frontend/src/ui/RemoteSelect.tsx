import { Select, type ComboboxItem, type SelectProps } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState } from "react";

import type { Query } from "./Loaded";

/** What is typed into a choice: (the text, what to look for, to change it). The name of the chosen one is no search. */
export function useTyped(chosen: ComboboxItem | undefined): [string, string, (text: string) => void] {
  const [typed, setTyped] = useState("");
  const [words] = useDebouncedValue(typed === chosen?.label ? "" : typed.trim(), 200);
  return [typed, words, setTyped];
}

interface Props extends Omit<SelectProps, "data" | "searchValue" | "onSearchChange" | "filter"> {
  typed: string;
  onTyped: (text: string) => void;
  /** entries for what was typed, as many as there is room for */
  found: Query<readonly ComboboxItem[]>;
  /** what is chosen, which need not be among them; undefined while it is not known */
  chosen: ComboboxItem | undefined;
}

/** A choice among more than a page should load: what is typed is looked for on the server. */
export function RemoteSelect({ typed, onTyped, found, chosen, ...props }: Props) {
  const entries = found.data ?? [];
  const there = !chosen || entries.some(({ value }) => value === chosen.value);
  return (
    <Select
      searchable
      nothingFoundMessage={found.error ? "The list could not be loaded." : "Nothing of that name"}
      {...props}
      data={there ? [...entries] : [chosen, ...entries]}
      filter={({ options }) => options}
      searchValue={typed}
      onSearchChange={onTyped}
    />
  );
}
