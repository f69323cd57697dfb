import { Navigate, Route, Routes } from "react-router";

import { PageHeader } from "@/ui/PageHeader";

export default function Auth() {
  return (
    <Routes>
      <Route path="*" element={<PageHeader title="Sign in" />} />
    </Routes>
  );
}
export { Navigate };
