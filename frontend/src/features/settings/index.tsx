import { Tabs } from "@mantine/core";
import { Navigate, Route, Routes, useLocation, useNavigate } from "react-router";

import { useCan } from "@/api/queries";
import { NotFound } from "@/shell/NotFound";
import { PageHeader } from "@/ui/PageHeader";

import { AccountTab } from "./AccountTab";
import { AuditTab } from "./AuditTab";
import { PeopleTab } from "./PeopleTab";
import { StudioTab } from "./StudioTab";
import { TokensTab } from "./TokensTab";

const TABS = [
  { path: "account", label: "Account", admin: false, Page: AccountTab },
  { path: "tokens", label: "API tokens", admin: false, Page: TokensTab },
  { path: "people", label: "People", admin: true, Page: PeopleTab },
  { path: "studio", label: "Studio", admin: true, Page: StudioTab },
  { path: "audit", label: "Audit log", admin: true, Page: AuditTab },
] as const;

export default function Settings() {
  const admin = useCan("admin");
  const navigate = useNavigate();
  const { pathname } = useLocation();
  const tabs = TABS.filter((tab) => admin || !tab.admin);
  return (
    <>
      <PageHeader title="Settings" />
      <Tabs
        value={pathname.split("/")[2] ?? ""}
        onChange={(value) => void navigate(`/settings/${value ?? "account"}`)}
        keepMounted={false}
        mb="md"
      >
        <Tabs.List>
          {tabs.map(({ path, label }) => (
            <Tabs.Tab key={path} value={path} data-testid={`settings-${path}`}>
              {label}
            </Tabs.Tab>
          ))}
        </Tabs.List>
      </Tabs>
      <Routes>
        <Route index element={<Navigate to="account" replace />} />
        {tabs.map(({ path, Page }) => (
          <Route key={path} path={path} element={<Page />} />
        ))}
        <Route path="*" element={<NotFound />} />
      </Routes>
    </>
  );
}
