import { Navigate, Route, Routes } from "react-router";

import { ReviewPage } from "@/features/review/ReviewPage";
import { NotFound } from "@/shell/NotFound";

import { LabelsPage } from "./LabelsPage";
import { WorkPage } from "./WorkPage";

/** Labelling a dataset as a whole: /datasets/:id/labels/... */
export default function Feature() {
  return (
    <Routes>
      <Route element={<LabelsPage />}>
        <Route index element={<Navigate to="work" replace />} />
        <Route path="work" element={<WorkPage />} />
        <Route path="review" element={<ReviewPage />} />
      </Route>
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
