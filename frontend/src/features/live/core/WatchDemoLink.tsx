import { IconPlayerPlay } from "@tabler/icons-react";
import { useNavigate } from "react-router";

import { useRobots } from "@/features/robots/core/hooks";
import { RoleButton } from "@/ui/RoleButton";

import { BEGIN_DEMO, useDemo, usePrepareDemo } from "@/features/live/demo";

/** From anywhere to a simulated robot on which the demo policy begins; nothing where there is no demo. */
export function WatchDemoLink() {
  const navigate = useNavigate();
  const demo = useDemo();
  const robots = useRobots();
  const robot = robots.data?.find(({ present, status }) => present && status.simulated);
  usePrepareDemo(demo ? robot?.name : undefined);
  if (!demo) return null;
  return (
    <RoleButton
      needs="operator"
      leftSection={<IconPlayerPlay size={18} />}
      because={robot ? null : "No simulated robot is there; start one with make up."}
      onClick={() => void navigate(`/live/${encodeURIComponent(robot?.name ?? "")}`, { state: BEGIN_DEMO })}
      data-testid="watch-demo"
    >
      Watch the demo policy
    </RoleButton>
  );
}
