import { Route, Routes } from "react-router";

import { NotFound } from "@/shell/NotFound";

import { ModelsPage } from "./ModelsPage";

export default function Models() {
  return (
    <Routes>
      <Route index element={<ModelsPage />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
