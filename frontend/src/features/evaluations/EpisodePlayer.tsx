import { Box, Group, ScrollArea, Text, UnstyledButton } from "@mantine/core";
import { useEffect, useRef, useState } from "react";

import { formatCount } from "@/ui/format";
import { Section } from "@/ui/Section";

import { Verdict } from "./Verdict";
import classes from "./EpisodePlayer.module.css";
import { fileUrl, type EvaluationDetail } from "./core/hooks";
import { spanAt, stepAt, timeAt, transcript, type Outcome } from "./core/report";

interface Props {
  evaluation: EvaluationDetail;
  outcome: Outcome;
}

/** The video of an episode, and what the policy said over its steps; a click on that goes there. */
export function EpisodePlayer({ evaluation, outcome }: Props) {
  const video = useRef<HTMLVideoElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const [step, setStep] = useState(0);
  const [broken, setBroken] = useState(false);
  const spans = transcript(outcome);
  const now = spanAt(spans, step);
  const there = typeof outcome.video === "string" && evaluation.files.includes(outcome.video);

  useEffect(() => {
    list.current?.children[now]?.scrollIntoView({ block: "nearest" });
  }, [now]);

  const seek = (to: number) => {
    const player = video.current;
    if (!player || !Number.isFinite(player.duration)) return;
    player.currentTime = timeAt(to, player.duration, outcome.steps);
  };

  return (
    <Section
      title={`Seed ${outcome.seed}`}
      actions={
        <Group gap="xs">
          <Text size="sm" c="dimmed" style={{ fontVariantNumeric: "tabular-nums" }}>
            step {formatCount(step)} of {formatCount(outcome.steps)}
          </Text>
          <Verdict success={outcome.success} wrong={outcome.wrong} />
        </Group>
      }
      data-testid="episode-player"
    >
      <Box className={classes.stage}>
        {there && !broken ? (
          <video
            ref={video}
            className={classes.video}
            src={fileUrl(evaluation.id, outcome.video ?? "")}
            controls
            muted
            autoPlay
            playsInline
            preload="auto"
            aria-label={`Video of seed ${outcome.seed}`}
            data-testid="episode-video"
            onError={() => setBroken(true)}
            onTimeUpdate={(event) =>
              setStep(stepAt(event.currentTarget.currentTime, event.currentTarget.duration, outcome.steps))
            }
          />
        ) : (
          <Text size="sm" c="gray.5">
            {broken ? "This browser cannot play the video." : "There is no video of this episode."}
          </Text>
        )}
      </Box>
      {spans.length > 0 && (
        <div className={classes.bar} aria-hidden>
          {spans.map((span, index) => (
            <div
              key={span.start}
              className={classes.part}
              data-now={index === now || undefined}
              style={{ flexGrow: span.end - span.start }}
              title={span.text}
            />
          ))}
        </div>
      )}
      <Text size="sm" fw={500} mt="sm" mb={4}>
        What the policy said
      </Text>
      {spans.length === 0 ? (
        <Text size="sm" c="dimmed">
          Nothing: it was trained without reasoning.
        </Text>
      ) : (
        <ScrollArea.Autosize mah={220} type="auto">
          <ol ref={list} className={classes.said} data-testid="transcript">
            {spans.map((span, index) => (
              <li key={span.start}>
                <UnstyledButton
                  className={classes.line}
                  data-now={index === now || undefined}
                  aria-current={index === now ? "true" : undefined}
                  onClick={() => seek(span.start)}
                >
                  <Text size="xs" c="dimmed" w={86} style={{ flexShrink: 0, fontVariantNumeric: "tabular-nums" }}>
                    {span.start} to {span.end - 1}
                  </Text>
                  <Text size="sm" style={{ overflowWrap: "anywhere" }}>
                    {span.text || "(empty)"}
                  </Text>
                </UnstyledButton>
              </li>
            ))}
          </ol>
        </ScrollArea.Autosize>
      )}
    </Section>
  );
}
