import type { Schema } from "@/api/client";

type Source = Schema<"SourceOut">;
type Ancestor = Schema<"Ancestor">;
type Detail = Pick<
  Schema<"CheckpointDetail">,
  "id" | "name" | "stage" | "step" | "run_id" | "run_name" | "sources" | "available"
>;

/** One training on the way to a checkpoint: what it started from, what it trained on, and what came out. */
export interface Link {
  /** models that the run started from besides the checkpoint before it; the first run starts from these alone */
  models: Ancestor[];
  stage: number | null;
  /** of the run; unknown while the checkpoint is not loaded */
  run: { id: string; name: string } | null;
  sources: readonly Source[];
  checkpoint: { id: string; name: string; step: number | null; available: boolean | null };
}

/**
 * The chain of runs that led to a checkpoint, oldest first. `known`: details of the checkpoints among the ancestors,
 * as far as they are loaded; the chain has its length without them.
 */
export function chain(detail: Detail, ancestors: readonly Ancestor[], known: readonly Detail[]): Link[] {
  const links: Link[] = [of(detail)];
  for (const ancestor of ancestors) {
    const last = links.at(-1);
    if (ancestor.kind !== "checkpoint") {
      last?.models.push(ancestor);
      continue;
    }
    const loaded = known.find(({ id }) => id === ancestor.id);
    links.push(
      loaded
        ? of(loaded)
        : {
            models: [],
            stage: ancestor.stage,
            run: null,
            sources: [],
            checkpoint: { id: ancestor.id, name: ancestor.name, step: ancestor.step, available: null },
          },
    );
  }
  return links.reverse();
}

function of(detail: Detail): Link {
  return {
    models: [],
    stage: detail.stage,
    run: { id: detail.run_id, name: detail.run_name },
    sources: detail.sources,
    checkpoint: { id: detail.id, name: detail.name, step: detail.step, available: detail.available },
  };
}

/**
 * A download that goes on where it broke off, and tells whether what came is what was saved. The token is taken from
 * the environment, so that it stands in no history.
 */
export function curlCommand(origin: string, path: string, file: string, sha256: string): string {
  return [
    `curl --fail --location --continue-at - --retry 5 --header "Authorization: Bearer $STUDIO_TOKEN" \\`,
    `  --output ${quoted(file)} ${quoted(origin + path)} \\`,
    `  && echo ${quoted(`${sha256}  ${file}`)} | sha256sum --check`,
  ].join("\n");
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return /^[A-Za-z0-9._/:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
