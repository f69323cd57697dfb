import { useOutletContext } from "react-router";

import type { Dataset } from "@/features/datasets/core/hooks";

/** The dataset whose labelling page this is. */
export function useLabelledDataset(): Dataset {
  return useOutletContext<Dataset>();
}
