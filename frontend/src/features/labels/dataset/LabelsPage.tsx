import { Tabs } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { Outlet, useLocation, useNavigate, useParams } from "react-router";

import { ApiError } from "@/api/client";
import { useDataset, type Dataset } from "@/features/datasets/core/hooks";
import { NoSuch } from "@/features/datasets/core/NoSuch";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";

const PAGES = [
  { path: "work", label: "My work" },
  { path: "assign", label: "Assign" },
  { path: "review", label: "Review" },
  { path: "coverage", label: "Coverage" },
  { path: "people", label: "People" },
  { path: "guideline", label: "Guideline" },
  { path: "find", label: "Find" },
  { path: "batch", label: "Bulk edit" },
  { path: "exchange", label: "Files" },
  { path: "settings", label: "Settings" },
] as const;

/** The frame of the labelling pages of a dataset. */
export function LabelsPage() {
  const { id = "" } = useParams();
  const query = useDataset(id);
  if (query.error instanceof ApiError && query.error.status === 404) return <NoSuch what="dataset" icon={IconTrash} />;
  return <Loaded query={query}>{(dataset) => <Frame dataset={dataset} />}</Loaded>;
}

function Frame({ dataset }: { dataset: Dataset }) {
  const { pathname } = useLocation();
  const navigate = useNavigate();
  const current = PAGES.find(({ path }) => pathname.endsWith(`/labels/${path}`))?.path ?? null;
  return (
    <>
      <PageHeader
        title="Labelling"
        path={[
          { label: "Datasets", to: "/datasets" },
          { label: dataset.name, to: `/datasets/${dataset.id}` },
        ]}
        subtitle="Who labels what, how far the labels are, and edits of many episodes at once."
      />
      {/* each tab is a page of its own; arrows move between the tabs, Enter opens one */}
      <Tabs
        value={current}
        onChange={(path) => void navigate(`/datasets/${dataset.id}/labels/${path ?? "work"}`)}
        activateTabWithKeyboard={false}
        mb="md"
      >
        <Tabs.List aria-label="Labelling">
          {PAGES.map(({ path, label }) => (
            <Tabs.Tab key={path} value={path} data-testid={`labels-${path}`}>
              {label}
            </Tabs.Tab>
          ))}
        </Tabs.List>
      </Tabs>
      <Outlet context={dataset} />
    </>
  );
}
