import { SegmentedControl } from "@mantine/core";
import { useSearchParams } from "react-router";

import { useLabelling, type Tier } from "@/features/labels/core/hooks";

/** The tier that the page is about, from `?tier=`. */
export function useTier(): Tier {
  const [search] = useSearchParams();
  return search.get("tier") === "plan" ? "plan" : "substep";
}

/** Substeps or plan; nothing in datasets that have substeps alone. */
export function TierSwitch({ datasetId }: { datasetId: string }) {
  const { data } = useLabelling(datasetId);
  const [, setSearch] = useSearchParams();
  const tier = useTier();
  if (data?.plan_tier !== true && tier === "substep") return null;
  return (
    <SegmentedControl
      size="xs"
      style={{ alignSelf: "flex-start" }}
      value={tier}
      onChange={(value) => setSearch(value === "plan" ? { tier: "plan" } : {}, { replace: true })}
      data={[
        { value: "substep", label: "Substeps" },
        { value: "plan", label: "Plan" },
      ]}
      aria-label="Tier"
      data-testid="tier-switch"
    />
  );
}
