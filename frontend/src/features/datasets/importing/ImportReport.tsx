import { Alert, List, Stack, Text } from "@mantine/core";

import type { Schema } from "@/api/client";
import { problemsOf, type FileProblem } from "@/features/datasets/refused";
import { inThePage } from "@/ui/inThePage";
import { plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { isOver } from "@/ui/StateBadge";

import classes from "./importing.module.css";

const SHOWN = 50;

/** The newest import: how far it is, which episodes were not taken, and what was guessed of those that were. */
export function ImportReport({ job }: { job: Schema<"JobOut"> }) {
  const refused = problemsOf(job.result, "refused");
  return (
    <Stack gap="xs" data-testid="import-job" data-state={job.state} style={{ flex: 1, minWidth: 0 }}>
      {/* while it runs the page shows it above the tabs */}
      {isOver(job.state) && <JobProgress job={job} titled />}
      {isOver(job.state) && job.result !== null && <Text size="sm">{countText(job.result)}</Text>}
      {refused.slice(0, SHOWN).map(({ name, errors }) => (
        <Alert key={name} color="red" p="xs" role="alert" data-testid="import-refused">
          <Text size="sm" fw={600} style={{ overflowWrap: "anywhere" }}>
            {name}
          </Text>
          <List size="sm" mt={4}>
            {errors.map((error) => (
              <List.Item key={error} style={{ overflowWrap: "anywhere" }}>
                {error}
              </List.Item>
            ))}
          </List>
        </Alert>
      ))}
      {refused.length > SHOWN && (
        <Text size="sm" c="dimmed">
          and {plural(refused.length - SHOWN, "other")}; the job&apos;s page has all of them.
        </Text>
      )}
      <Said title="Guessed" problems={problemsOf(job.result, "guesses")} testid="import-guessed" />
      <Said title="Left out or mended" problems={problemsOf(job.result, "warnings")} testid="import-warnings" />
    </Stack>
  );
}

function countText(result: Record<string, unknown>): string {
  const taken = Array.isArray(result.accepted) ? result.accepted.length : 0;
  const refused = Array.isArray(result.refused) ? result.refused.length : 0;
  const there = typeof result.already_there === "number" ? result.already_there : 0;
  const parts = [
    `${plural(taken, "episode")} imported`,
    refused > 0 ? `${refused} refused` : "",
    there > 0 ? `${there} in the dataset already` : "",
  ];
  return `${parts.filter(Boolean).join(", ")}.`;
}

/** Each sentence once, with how many episodes it was said of. */
function Said({ title, problems, testid }: { title: string; problems: FileProblem[]; testid: string }) {
  if (problems.length === 0) return null;
  const counts = new Map<string, number>();
  for (const { errors } of problems) for (const text of errors) counts.set(text, (counts.get(text) ?? 0) + 1);
  const sorted = [...counts].sort(([, one], [, other]) => other - one);
  return (
    <details className={classes.said} data-testid={testid}>
      <summary>
        {title} in {plural(problems.length, "episode")}
      </summary>
      <ul>
        {sorted.slice(0, SHOWN).map(([text, count]) => (
          <li key={text}>
            {inThePage(text)} <Text span c="dimmed" size="xs">{`(${plural(count, "episode")})`}</Text>
          </li>
        ))}
      </ul>
    </details>
  );
}
