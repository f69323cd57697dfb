import { Route, Routes } from "react-router";

import { NotFound } from "@/shell/NotFound";

import { JobPage } from "./JobPage";
import { JobsPage } from "./JobsPage";

export default function Jobs() {
  return (
    <Routes>
      <Route index element={<JobsPage />} />
      <Route path=":id" element={<JobPage />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
