import { useQuery } from "@tanstack/react-query";

import { useCan } from "@/api/queries";
import { robotsQuery } from "@/features/robots/core/hooks";
import { ErrorNote } from "@/ui/ErrorNote";

import { Cameras } from "./Cameras";
import { Commands } from "./Commands";
import { Curves } from "./Curves";
import { LiveRobotProvider, useConnectedRobot } from "./hooks";
import classes from "./live.module.css";
import { ReasoningPanel } from "./ReasoningPanel";
import { RecordPanel } from "./RecordPanel";
import { ScenePanel } from "./ScenePanel";
import { StateBar } from "./StateBar";

/** A robot as somebody sees it who has a hand near the stop. */
export function LivePage({ name }: { name: string }) {
  const robot = useConnectedRobot(name);
  const robots = useQuery(robotsQuery);
  const operator = useCan("operator");
  const known = robots.data?.some((each) => each.name === name);
  return (
    <LiveRobotProvider value={robot}>
      <div className={classes.page} data-testid="live-page">
        <StateBar present={robots.data?.find((each) => each.name === name)?.present} />
        <div className={classes.main}>
          <Cameras />
          <ReasoningPanel />
          <Curves />
        </div>
        <div className={classes.side}>
          {known === false && (
            <ErrorNote error={new Error(`There is no robot ${name}; its host has ended or was never started.`)} />
          )}
          <Commands operator={operator} />
          <RecordPanel />
          <ScenePanel />
        </div>
      </div>
    </LiveRobotProvider>
  );
}
