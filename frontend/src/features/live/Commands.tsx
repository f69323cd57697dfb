import { Alert, Stack, Tabs } from "@mantine/core";
import { IconKeyboard, IconLock, IconRoute } from "@tabler/icons-react";
import { useState } from "react";

import { DemoPanel } from "./DemoPanel";
import { DrivePanel } from "./DrivePanel";
import { useDriver, useLiveRobot } from "./hooks";
import classes from "./live.module.css";
import { PolicyPanel } from "./PolicyPanel";

/** Who is to move the robot: a policy or a person. */
export function Commands({ operator }: { operator: boolean }) {
  const { driver } = useLiveRobot();
  const driving = useDriver((view) => view.driving);
  const [tab, setTab] = useState<string | null>("policy");
  const change = (next: string | null) => {
    if (driving) driver.setDriving(false);
    setTab(next);
  };
  return (
    <section className={`${classes.panel ?? ""} ${classes.grow ?? ""}`} aria-label="Commands">
      {!operator && (
        <Alert color="gray" p="xs" mb="xs" icon={<IconLock size={16} />} data-testid="live-watching-only">
          You watch, and you may stop. To start, drive or record you need the role operator.
        </Alert>
      )}
      <Tabs value={tab} onChange={change} keepMounted={false}>
        <Tabs.List grow mb="sm">
          <Tabs.Tab value="policy" leftSection={<IconRoute size={16} />} data-testid="live-tab-policy">
            Policy
          </Tabs.Tab>
          <Tabs.Tab value="drive" leftSection={<IconKeyboard size={16} />} data-testid="live-tab-drive">
            Drive by hand
          </Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="policy">
          <Stack gap="xs">
            <DemoPanel />
            <PolicyPanel operator={operator} />
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="drive">
          <DrivePanel operator={operator} />
        </Tabs.Panel>
      </Tabs>
    </section>
  );
}
