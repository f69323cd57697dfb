import type { SelectProps } from "@mantine/core";

import { formatBytes, formatNumber } from "@/ui/format";
import { RemoteSelect, useTyped } from "@/ui/RemoteSelect";

import { useCheckpoint, useSomeCheckpoints, type Checkpoint } from "./hooks";

interface Props extends Omit<SelectProps, "value" | "data" | "onChange"> {
  value: string | null;
  onChange: (id: string | null) => void;
  /** further entries, above and below the checkpoints that are found */
  above?: Entry[];
  below?: Entry[];
  /** with what tells checkpoints of a run apart */
  detailed?: boolean;
}

interface Entry {
  value: string;
  label: string;
  disabled?: boolean;
}

/** One of the checkpoints that have their files, looked for on the server by what is typed; the newest at first. */
export function CheckpointSelect({ value, above = [], below = [], detailed = false, ...props }: Props) {
  const other = [...above, ...below].find((one) => one.value === value);
  const checkpoint = useCheckpoint(other ? null : value).data;
  const entry = (one: Checkpoint) => ({ value: one.id, label: detailed ? detail(one) : one.name });
  const chosen = other ?? (value !== null && checkpoint ? entry(checkpoint) : undefined);
  const [typed, words, onTyped] = useTyped(chosen);
  const query = useSomeCheckpoints(words);
  const named = (one: Entry) => one.label.toLowerCase().includes(words.toLowerCase());
  const data = query.data && [...above.filter(named), ...query.data.items.map(entry), ...below.filter(named)];
  return <RemoteSelect {...props} value={value} {...{ typed, onTyped, chosen }} found={{ ...query, data }} />;
}

function detail({ name, stage, size_bytes, val_loss }: Checkpoint): string {
  const loss = val_loss === null ? "" : `, held-out loss ${formatNumber(val_loss, 3)}`;
  return `${name} (stage ${stage}, ${formatBytes(size_bytes)}${loss})`;
}
