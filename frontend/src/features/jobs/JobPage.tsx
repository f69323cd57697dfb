import { Button, Card, Code, Grid, Stack } from "@mantine/core";
import { Link, useParams } from "react-router";

import { Copyable } from "@/ui/Copyable";
import { Facts } from "@/ui/Facts";
import { JobProgress } from "@/ui/JobProgress";
import { KINDS } from "@/ui/jobText";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { Section } from "@/ui/Section";
import { isOver } from "@/ui/StateBadge";
import { Duration, Time } from "@/ui/Time";

import { useJob } from "./core/hooks";
import { JobActions } from "./core/JobActions";
import { JobLog } from "./core/JobLog";
import { subjectOf } from "./subject";

export function JobPage() {
  const { id = "" } = useParams();
  const query = useJob(id);
  return (
    <Loaded query={query} lines={5}>
      {(job) => {
        const subject = subjectOf(job);
        return (
          <>
            <PageHeader
              title={job.title}
              path={[{ label: "Jobs", to: "/jobs" }]}
              subtitle={
                <>
                  {KINDS[job.kind]}, created <Time value={job.created_at} />
                  {job.created_by_name && ` by ${job.created_by_name}`}
                </>
              }
              actions={
                <>
                  {subject && (
                    <Button component={Link} to={subject.to} variant="default" data-testid="job-subject">
                      {subject.label}
                    </Button>
                  )}
                  <JobActions job={job} size="sm" />
                </>
              }
            />
            <Grid>
              <Grid.Col span={{ base: 12, md: 8 }}>
                <Card h="100%">
                  <JobProgress job={job} onOwnPage />
                </Card>
              </Grid.Col>
              <Grid.Col span={{ base: 12, md: 4 }}>
                <Card h="100%">
                  <Facts
                    facts={[
                      ["Started", job.started_at ? <Time key="t" value={job.started_at} /> : "not yet"],
                      ["Finished", job.finished_at && <Time key="t" value={job.finished_at} />],
                      ["Time", job.started_at && <Duration key="t" start={job.started_at} end={job.finished_at} />],
                      ["Attempt", job.attempt > 0 ? job.attempt : null],
                      ["Worker", job.owner],
                      [
                        "Job",
                        <Copyable key="t" value={job.id} short={job.id.slice(0, 10)} label="Copy the job's id" />,
                      ],
                    ]}
                  />
                </Card>
              </Grid.Col>
              <Grid.Col span={12}>
                <Section
                  title="Log"
                  description={isOver(job.state) ? undefined : "New lines appear as they are written."}
                >
                  <JobLog jobId={job.id} live={!isOver(job.state)} height="max(320px, calc(100vh - 480px))" />
                </Section>
              </Grid.Col>
              {job.result && Object.keys(job.result).length > 0 && (
                <Grid.Col span={12}>
                  <Section title="Result">
                    <Stack>
                      <Code block>{JSON.stringify(job.result, null, 2)}</Code>
                    </Stack>
                  </Section>
                </Grid.Col>
              )}
            </Grid>
          </>
        );
      }}
    </Loaded>
  );
}
