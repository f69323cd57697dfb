import { CloseButton, Group, Text } from "@mantine/core";
import { Link } from "react-router";

import type { Entry } from "./hooks";
import { imagesOf } from "./guideline";
import classes from "./labelling.module.css";

type Example = Entry["examples"][number];

interface Props {
  text: string;
  examples: readonly Example[];
  /** of the dataset */
  cameras: readonly string[];
  /** left out: the images are to look at only */
  onRemove?: (index: number) => void;
}

/** Example images of an entry; each opens its step in the annotator. */
export function Examples({ text, examples, cameras, onRemove }: Props) {
  if (examples.length === 0) return null;
  return (
    <Group gap="xs" align="flex-start">
      {examples.map((example, index) => {
        const { episode_id, step, camera, there } = example;
        const name = `Example ${index + 1} of ${text}`;
        return (
          <figure key={`${episode_id}-${step}-${camera}`} className={classes.example} data-testid="example">
            {there ? (
              <Link to={`/episodes/${episode_id}?step=${step}`} className={classes.images}>
                {imagesOf(example, cameras).map((address, place) => (
                  <img key={address} src={address} alt={place === 0 ? name : ""} loading="lazy" decoding="async" />
                ))}
              </Link>
            ) : (
              <Text size="xs" c="dimmed" p="xs">
                The episode is gone.
              </Text>
            )}
            <Group component="figcaption" justify="space-between" wrap="nowrap" gap={4}>
              <Text size="xs" c="dimmed">
                step {step}
                {camera !== null && `, ${camera}`}
              </Text>
              {onRemove && (
                <CloseButton
                  size="xs"
                  onClick={() => onRemove(index)}
                  aria-label={`Remove ${name}`}
                  data-testid="example-remove"
                />
              )}
            </Group>
          </figure>
        );
      })}
    </Group>
  );
}
