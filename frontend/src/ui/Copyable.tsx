import { ActionIcon, Box, Code, CopyButton, Group, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";

interface Props {
  value: string;
  /** what is shown instead of the whole value */
  short?: string;
  /** several lines, or one long one: a block */
  block?: boolean;
  label?: string;
  "data-testid"?: string;
}

/** Text that people take elsewhere: a hash, a link, a command. */
export function Copyable({ value, short, block = false, label = "Copy", ...props }: Props) {
  const button = (
    <CopyButton value={value} timeout={1500}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : label}>
          <ActionIcon
            variant="subtle"
            color={copied ? "teal" : "gray"}
            size={block ? "md" : "sm"}
            onClick={copy}
            aria-label={label}
          >
            {copied ? <IconCheck size={16} /> : <IconCopy size={16} />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
  if (block)
    return (
      <Box pos="relative" {...props}>
        <Code block pr={44} style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
          {value}
        </Code>
        <Box pos="absolute" top={6} right={6}>
          {button}
        </Box>
      </Box>
    );
  return (
    <Group gap={4} wrap="nowrap" display="inline-flex" {...props}>
      <Tooltip label={value} disabled={short === undefined || short === value}>
        <Code>{short ?? value}</Code>
      </Tooltip>
      {button}
    </Group>
  );
}
