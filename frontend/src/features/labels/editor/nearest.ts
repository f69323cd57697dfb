import { api, ok, type Schema } from "@/api/client";

type Row = Schema<"EpisodeOut">;

/** Episodes of the list that are looked at, around the one that asks. */
const LOOKED_AT = 500;

/** The labelled episode that is most likely alike: of the same task, published, near in the list; null: there is none. */
export function nearestOf(rows: readonly Row[], to: Pick<Row, "id" | "number" | "task">): Row | null {
  const cost = (row: Row) =>
    (row.task === to.task ? 0 : 1e8) + (row.label_state === "published" ? 0 : 1e4) + Math.abs(row.number - to.number);
  const labelled = rows.filter(({ id, segments }) => id !== to.id && segments > 0);
  return labelled.length === 0 ? null : labelled.reduce((best, row) => (cost(row) < cost(best) ? row : best));
}

export async function nearestLabelled(episode: Schema<"EpisodeDetail">): Promise<Row | null> {
  const offset = Math.max(0, episode.number - LOOKED_AT / 2);
  const { items } = await ok(
    api.GET("/api/datasets/{dataset_id}/episodes", {
      params: { path: { dataset_id: episode.dataset_id }, query: { offset, limit: LOOKED_AT } },
    }),
  );
  return nearestOf(items, episode);
}
