import { Route, Routes } from "react-router";

import { NotFound } from "@/shell/NotFound";

import { ComparePage } from "./ComparePage";
import { NewRunPage } from "./NewRunPage";
import { RunPage } from "./RunPage";
import { RunsPage } from "./RunsPage";

export default function Training() {
  return (
    <Routes>
      <Route index element={<RunsPage />} />
      <Route path="new" element={<NewRunPage />} />
      <Route path="compare" element={<ComparePage />} />
      <Route path=":id" element={<RunPage />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
