import { Card, Code, SimpleGrid } from "@mantine/core";
import { IconRobot } from "@tabler/icons-react";

import { EmptyState } from "@/ui/EmptyState";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";

import { useRobots } from "./core/hooks";
import { RobotCard } from "./RobotCard";

export function RobotsPage() {
  const robots = useRobots();
  return (
    <>
      <PageHeader
        title="Robots"
        subtitle="Each belongs to a robot host. Anyone who is signed in may stop one; an operator re-arms it."
      />
      <Loaded query={robots} lines={6}>
        {(list) =>
          list.length === 0 ? (
            <Card>
              <EmptyState icon={IconRobot} title="No robot has announced itself">
                A simulated ALOHA comes with <Code>make up</Code>. On another machine start its host with{" "}
                <Code>studio robot</Code>.
              </EmptyState>
            </Card>
          ) : (
            <SimpleGrid cols={{ base: 1, lg: list.length > 1 ? 2 : 1 }}>
              {list.map((robot) => (
                <RobotCard key={robot.name} robot={robot} />
              ))}
            </SimpleGrid>
          )
        }
      </Loaded>
    </>
  );
}
