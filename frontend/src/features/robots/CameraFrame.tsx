import { AspectRatio, Box, Center, Text } from "@mantine/core";
import { useRef } from "react";

import { useCameraFrame, useInSight } from "./core/hooks";

interface Props {
  robot: string;
  camera: string;
  present: boolean;
}

/** A camera's newest frame, about two a second while somebody can see it. */
export function CameraFrame({ robot, camera, present }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const inSight = useInSight(frame);
  const { image, error } = useCameraFrame(robot, camera, inSight && present);
  return (
    <Box ref={frame} component="figure" m={0} data-testid="robot-picture" data-camera={camera}>
      <AspectRatio ratio={4 / 3} bg="dark.9" style={{ borderRadius: "var(--mantine-radius-sm)", overflow: "hidden" }}>
        {image ? (
          <img
            src={image}
            alt={`${camera} of ${robot}`}
            style={{ objectFit: "contain", opacity: present && !error ? 1 : 0.35 }}
          />
        ) : (
          <Center p="xs">
            <Text size="xs" c="gray.5" ta="center" lineClamp={4}>
              {present ? (error ?? "Waiting for a frame") : "No frames while it is away"}
            </Text>
          </Center>
        )}
      </AspectRatio>
      <Text component="figcaption" size="xs" c="dimmed" mt={4} truncate>
        {camera}
        {image && error ? ` - old frame: ${error}` : ""}
      </Text>
    </Box>
  );
}
