import { Route, Routes, useLocation } from "react-router";

import { LinkPage } from "./LinkPage";
import { SetupPage } from "./SetupPage";
import { SignInPage } from "./SignInPage";

/** The pages of people who are not signed in. */
export default function Auth() {
  const { pathname } = useLocation();
  const root = pathname.split("/")[1];
  return (
    <Routes>
      <Route index element={root === "setup" ? <SetupPage /> : root === "link" ? <LinkPage /> : <SignInPage />} />
    </Routes>
  );
}
