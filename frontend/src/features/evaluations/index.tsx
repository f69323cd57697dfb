import { Route, Routes } from "react-router";

import { NotFound } from "@/shell/NotFound";

import { ComparePage } from "./ComparePage";
import { EvaluationPage } from "./EvaluationPage";
import { EvaluationsPage } from "./EvaluationsPage";
import { NewEvaluationPage } from "./NewEvaluationPage";

export default function Evaluations() {
  return (
    <Routes>
      <Route index element={<EvaluationsPage />} />
      <Route path="new" element={<NewEvaluationPage />} />
      <Route path="compare" element={<ComparePage />} />
      <Route path=":id" element={<EvaluationPage />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
