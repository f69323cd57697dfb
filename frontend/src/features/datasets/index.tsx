import { Route, Routes } from "react-router";

import { NotFound } from "@/shell/NotFound";

import { DatasetPage } from "./DatasetPage";
import { DatasetsPage } from "./DatasetsPage";

export default function Feature() {
  return (
    <Routes>
      <Route index element={<DatasetsPage />} />
      <Route path=":id" element={<DatasetPage />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
