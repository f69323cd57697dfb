import { useDocumentTitle } from "@mantine/hooks";
import { Route, Routes, useParams } from "react-router";

import { NotFound } from "@/shell/NotFound";

import { LivePage } from "./LivePage";

export default function Live() {
  return (
    <Routes>
      <Route path=":robot" element={<OneRobot />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}

function OneRobot() {
  const { robot = "" } = useParams();
  useDocumentTitle(`Live: ${robot} - DexVLA Studio`);
  return <LivePage key={robot} name={robot} />;
}
