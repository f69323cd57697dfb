import { Route, Routes } from "react-router";

import { NotFound } from "@/shell/NotFound";

import { CheckpointPage } from "./CheckpointPage";
import { CheckpointsPage } from "./CheckpointsPage";

export default function Checkpoints() {
  return (
    <Routes>
      <Route index element={<CheckpointsPage />} />
      <Route path=":id" element={<CheckpointPage />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
