import { Navigate, Route, Routes } from "react-router";

import { ReviewPage } from "@/features/review/ReviewPage";
import { NotFound } from "@/shell/NotFound";

import { AssignPage } from "./AssignPage";
import { BatchPage } from "./BatchPage";
import { CoveragePage } from "./CoveragePage";
import { ExchangePage } from "./ExchangePage";
import { FindPage } from "./FindPage";
import { GuidelinePage } from "./GuidelinePage";
import { LabelsPage } from "./LabelsPage";
import { PeoplePage } from "./PeoplePage";
import { SettingsPage } from "./SettingsPage";
import { WorkPage } from "./WorkPage";

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
