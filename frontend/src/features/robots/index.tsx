import { Route, Routes } from "react-router";

import { NotFound } from "@/shell/NotFound";

import { RobotsPage } from "./RobotsPage";

export default function Robots() {
  return (
    <Routes>
      <Route index element={<RobotsPage />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}
