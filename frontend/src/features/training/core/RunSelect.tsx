import { keepPreviousData, useQuery } from "@tanstack/react-query";

import { api, ok } from "@/api/client";
import { RemoteSelect, useTyped } from "@/ui/RemoteSelect";

interface Props {
  value: string | null;
  onChange: (id: string | null) => void;
}

/** One run, to narrow a list by. */
export function RunSelect({ value, onChange }: Props) {
  const run = useQuery({
    queryKey: ["run", "one", value],
    queryFn: () => ok(api.GET("/api/runs/{run_id}", { params: { path: { run_id: value ?? "" } } })),
    enabled: value !== null,
  }).data;
  const chosen = value !== null && run ? { value: run.id, label: run.name } : undefined;
  const [typed, words, onTyped] = useTyped(chosen);
  const found = useQuery({
    queryKey: ["run", "list", "some", words],
    queryFn: ({ signal }) =>
      ok(api.GET("/api/runs/page", { params: { query: { search: words || undefined, limit: 30 } }, signal })),
    placeholderData: keepPreviousData,
    select: ({ items }) => items.map(({ id, name }) => ({ value: id, label: name })),
  });
  return (
    <RemoteSelect
      aria-label="Run"
      placeholder="All runs"
      clearable
      w={240}
      value={value}
      onChange={onChange}
      {...{ typed, onTyped, found, chosen }}
    />
  );
}
