import { Group, Pagination, SegmentedControl, Select } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";

import { Section } from "@/ui/Section";

import classes from "./survey.module.css";
import type { SurveyedEpisode } from "./hooks";

const SHOWN = 48;

/** The first or last frame of every episode side by side: what looks different is seen at once. */
export function Sheet({ episodes, cameras }: { episodes: readonly SurveyedEpisode[]; cameras: readonly string[] }) {
  const [camera, setCamera] = useState(cameras[0] ?? "");
  const [end, setEnd] = useState<"first" | "last">("first");
  const [page, setPage] = useState(1);
  const pages = Math.ceil(episodes.length / SHOWN);
  return (
    <Section
      title="Contact sheet"
      description="One frame of each episode. A frame opens its episode there."
      actions={
        <Group gap="xs">
          <Select
            size="xs"
            aria-label="Camera"
            data={[...cameras]}
            value={camera}
            allowDeselect={false}
            onChange={(value) => setCamera(value ?? "")}
            data-testid="survey-camera"
          />
          <SegmentedControl
            size="xs"
            value={end}
            onChange={(value) => setEnd(value)}
            data={[
              { value: "first", label: "First frame" },
              { value: "last", label: "Last frame" },
            ]}
          />
        </Group>
      }
    >
      <div className={classes.sheet} data-testid="survey-sheet">
        {episodes.slice((page - 1) * SHOWN, page * SHOWN).map(({ id, number, steps }) => {
          const step = end === "first" ? 0 : steps - 1;
          return (
            <Link key={id} to={`/episodes/${id}?step=${step}`}>
              <img
                src={`/api/episodes/${id}/frames/${encodeURIComponent(camera)}/${step}`}
                alt={`Episode ${number}, ${end} frame`}
                loading="lazy"
                decoding="async"
              />
              <span>{number}</span>
            </Link>
          );
        })}
      </div>
      {pages > 1 && <Pagination total={pages} value={page} onChange={setPage} mt="md" size="sm" />}
    </Section>
  );
}
