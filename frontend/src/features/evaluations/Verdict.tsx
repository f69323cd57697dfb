import { Badge } from "@mantine/core";

import type { Outcome } from "./core/report";

export function Verdict({ success, wrong }: Pick<Outcome, "success" | "wrong">) {
  return (
    <Badge
      color={success ? "teal" : wrong ? "red" : "gray"}
      data-testid="outcome"
      data-success={success}
      data-wrong={wrong === true}
      title={!success && wrong ? "An object other than the one named was lifted" : undefined}
    >
      {success ? "success" : wrong ? "wrong" : "failure"}
    </Badge>
  );
}
