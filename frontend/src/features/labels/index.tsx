import { Navigate, Route, Routes } from "react-router";

import { ReviewPage } from "./review/ReviewPage";
import { NotFound } from "@/shell/NotFound";

import { AssignPage } from "./dataset/AssignPage";
import { BatchPage } from "./dataset/BatchPage";
import { CoveragePage } from "./dataset/CoveragePage";
import { ExchangePage } from "./dataset/ExchangePage";
import { FindPage } from "./dataset/FindPage";
import { GuidelinePage } from "./dataset/GuidelinePage";
import { LabelsPage } from "./dataset/LabelsPage";
import { PeoplePage } from "./dataset/PeoplePage";
import { SettingsPage } from "./dataset/SettingsPage";
import { WorkPage } from "./dataset/WorkPage";

/** Labelling a dataset as a whole: /datasets/:id/labels/... */
export default function Feature() {
  return (
    <Routes>
      <Route element={<LabelsPage />}>
        <Route index element={<Navigate to="work" replace />} />
        <Route path="work" element={<WorkPage />} />
        <Route path="assign" element={<AssignPage />} />
        <Route path="review" element={<ReviewPage />} />
        <Route path="coverage" element={<CoveragePage />} />
        <Route path="people" element={<PeoplePage />} />
        <Route path="guideline" element={<GuidelinePage />} />
        <Route path="find" element={<FindPage />} />
        <Route path="batch" element={<BatchPage />} />
        <Route path="exchange" element={<ExchangePage />} />
        <Route path="settings" element={<SettingsPage />} />
      </Route>
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
