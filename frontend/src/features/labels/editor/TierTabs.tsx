import { Badge, SegmentedControl } from "@mantine/core";
import { useNavigate } from "react-router";

import { useAnnotator } from "./context";

import { useLabelling } from "@/features/labels/core/hooks";
import { labelAddress } from "@/features/labels/core/trail";

/** In the annotator: substeps or plan, where the dataset has both; whether these are the second, blind labels. */
export function TierTabs() {
  const { episode, about } = useAnnotator();
  const { data } = useLabelling(episode.dataset_id);
  const navigate = useNavigate();
  const { tier, rater } = about;
  return (
    <>
      {(data?.plan_tier === true || tier === "plan") && (
        <SegmentedControl
          size="xs"
          style={{ flexShrink: 0 }}
          value={tier}
          onChange={(value) => void navigate(labelAddress(episode.id, { tier: value, rater }))}
          data={[
            { value: "substep", label: "Substeps" },
            { value: "plan", label: "Plan" },
          ]}
          aria-label="Tier"
          data-testid="annotator-tier"
        />
      )}
      {rater > 0 && <Badge color="violet">second labels</Badge>}
    </>
  );
}
