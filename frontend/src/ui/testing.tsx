import { MantineProvider } from "@mantine/core";
import { ModalsProvider } from "@mantine/modals";
import { Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { MemoryRouter } from "react-router";

import { healthQuery, meQuery, type Role } from "@/api/queries";
import { theme } from "@/theme";

interface Around {
  role?: Role;
  workers?: number;
}

/** For tests: parts as they stand in the page, somebody of that role signed in, so many workers running. */
export function show(parts: ReactNode, { role = "operator", workers = 1 }: Around = {}) {
  const client = new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: Infinity } } });
  const user = { id: "u", name: "ada", role, disabled: false, created_at: "2026-01-01T00:00:00Z" };
  client.setQueryData(meQuery.queryKey, { user, setup_required: false });
  const health = { status: "ok" as const, version: "1", database: "ok", broker: "ok", workers, robots: 1 };
  client.setQueryData(healthQuery.queryKey, health as never);
  const around = (content: ReactNode) => (
    <MemoryRouter>
      <QueryClientProvider client={client}>
        <MantineProvider theme={theme} env="test">
          <Notifications />
          <ModalsProvider>{content}</ModalsProvider>
        </MantineProvider>
      </QueryClientProvider>
    </MemoryRouter>
  );
  const { rerender } = render(around(parts));
  return { again: (content: ReactNode) => rerender(around(content)) };
}
