import { Box, useComputedColorScheme } from "@mantine/core";

import { labelColor } from "./colors";

/** The colour of a vocabulary entry; -1: a text outside it. */
export function LabelDot({ index, size = 12 }: { index: number; size?: number }) {
  const scheme = useComputedColorScheme("light");
  return (
    <Box
      w={size}
      h={size}
      bg={labelColor(index, scheme).fill}
      style={{ borderRadius: 3, flexShrink: 0, border: "1px solid light-dark(#0003, #fff4)" }}
    />
  );
}
