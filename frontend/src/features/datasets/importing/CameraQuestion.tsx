import { ActionIcon, Checkbox, Group, Stack, Text, TextInput } from "@mantine/core";
import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import { useState } from "react";

import { Guess } from "./Guess";
import { Question } from "./Question";
import classes from "./importing.module.css";
import {
  cameraRows,
  toldColours,
  withCameras,
  type CameraChoice,
  type Colours,
  type Profile,
  type SourceCamera,
} from "./profile";

interface Props {
  cameras: readonly SourceCamera[];
  profile: Profile;
  guessed: boolean;
  onChange: (profile: Profile) => void;
}

const READINGS: { colours: Colours; title: string }[] = [
  { colours: "rgb", title: "Read as red, green, blue" },
  { colours: "bgr", title: "Red and blue swapped" },
];

/** Which cameras are kept, under which name and in which order, and which of two readings has the right colours. */
export function CameraQuestion({ cameras, profile, guessed, onChange }: Props) {
  const [together, setTogether] = useState(true);
  const rows = cameraRows(cameras, profile);
  const kept = rows.filter((row) => row.kept).map(({ choice }) => choice);
  const put = (choices: CameraChoice[], base = profile) => onChange(withCameras(base, cameras, choices));
  const change = (source: string, fields: Partial<CameraChoice>) =>
    put(kept.map((choice) => (choice.source === source ? { ...choice, ...fields } : choice)));
  const move = (from: number, to: number) => {
    const next = [...kept];
    next.splice(to, 0, ...next.splice(from, 1));
    put(next);
  };
  const tell = (source: string, colours: Colours) => {
    if (together)
      put(
        kept.map((choice) => ({ ...choice, colours: null })),
        { ...profile, colours },
      );
    else change(source, { colours });
  };

  return (
    <Question title="Cameras and colours" guess={guessed}>
      <Text size="sm" c="dimmed" mb="xs">
        Choose the reading in which red things are red. Cameras are handed to the model in this order.
      </Text>
      {cameras.length > 1 && (
        <Checkbox
          size="xs"
          mb="xs"
          label="The same colours for all cameras"
          checked={together}
          onChange={(event) => setTogether(event.currentTarget.checked)}
          data-testid="import-colours-together"
        />
      )}
      {rows.map(({ camera, choice, kept: isKept }, place) => (
        <div
          key={camera.source}
          className={classes.camera}
          data-left-out={!isKept || undefined}
          data-testid="import-camera"
          data-camera={camera.source}
        >
          <Stack gap="xs">
            <Group gap={4} wrap="nowrap">
              <Checkbox
                label={camera.source}
                checked={isKept}
                disabled={isKept && kept.length === 1}
                onChange={() => put(isKept ? kept.filter(({ source }) => source !== camera.source) : [...kept, choice])}
                style={{ flex: 1, minWidth: 0, overflowWrap: "anywhere" }}
                data-testid="import-camera-keep"
              />
              {isKept && kept.length > 1 && (
                <>
                  <ActionIcon
                    size="sm"
                    variant="subtle"
                    color="gray"
                    disabled={place === 0}
                    onClick={() => move(place, place - 1)}
                    aria-label={`Move ${camera.source} up`}
                  >
                    <IconArrowUp size={14} />
                  </ActionIcon>
                  <ActionIcon
                    size="sm"
                    variant="subtle"
                    color="gray"
                    disabled={place === kept.length - 1}
                    onClick={() => move(place, place + 1)}
                    aria-label={`Move ${camera.source} down`}
                  >
                    <IconArrowDown size={14} />
                  </ActionIcon>
                </>
              )}
            </Group>
            <TextInput
              size="xs"
              label="Name in the dataset"
              placeholder={camera.source}
              value={choice.name ?? ""}
              disabled={!isKept}
              maxLength={64}
              error={choice.name && !/^[A-Za-z0-9_-]+$/.test(choice.name) ? "Letters, digits, - and _" : undefined}
              onChange={(event) => change(camera.source, { name: event.currentTarget.value || null })}
              data-testid="import-camera-name"
            />
            <Checkbox
              size="xs"
              label="Turned by 180°"
              checked={choice.turned ?? profile.turned ?? camera.turned}
              disabled={!isKept}
              onChange={(event) => change(camera.source, { turned: event.currentTarget.checked })}
              data-testid="import-camera-turned"
            />
            <Text size="xs" c="dimmed">
              {camera.width} x {camera.height}, {camera.jpeg ? "JPEG" : "pixels"}
            </Text>
          </Stack>
          <Readings
            camera={camera}
            told={toldColours(choice, profile)}
            disabled={!isKept && !together}
            onTell={(colours) => tell(camera.source, colours)}
          />
        </div>
      ))}
    </Question>
  );
}

/** The same frames in both readings, side by side, each in its place whatever the profile says. */
function Readings({
  camera,
  told,
  disabled,
  onTell,
}: {
  camera: SourceCamera;
  told: Colours | null;
  /** the camera is left out, and nothing is told for all */
  disabled: boolean;
  onTell: (colours: Colours) => void;
}) {
  const now: Colours = camera.bgr ? "bgr" : "rgb";
  return (
    <div className={classes.readings} role="radiogroup" aria-label={`Colours of ${camera.source}`}>
      {READINGS.map(({ colours, title }) => (
        <button
          key={colours}
          type="button"
          role="radio"
          aria-checked={told === colours}
          disabled={disabled}
          className={classes.reading}
          data-now={(told === null && now === colours) || undefined}
          data-guess={(told === null && now === colours && camera.colours_guessed) || undefined}
          onClick={() => onTell(colours)}
          data-testid={`import-colours-${colours}`}
        >
          <span>
            {title}
            {told === null && now === colours && (camera.colours_guessed ? <Guess /> : "as it is now")}
          </span>
          <div className={classes.frames}>
            {camera.frames.map((frame) => {
              const data = now === colours ? frame.image : frame.swapped;
              return (
                <figure key={frame.step}>
                  {data ? (
                    <img src={`data:image/jpeg;base64,${data}`} alt={`${camera.source}, step ${frame.step}`} />
                  ) : (
                    <Text size="xs" c="red">
                      {frame.problem ?? "It cannot be decoded."}
                    </Text>
                  )}
                  <figcaption>step {frame.step}</figcaption>
                </figure>
              );
            })}
          </div>
        </button>
      ))}
    </div>
  );
}
