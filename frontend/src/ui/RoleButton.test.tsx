import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import type { ReactNode } from "react";
import { expect, test, vi } from "vitest";

import { meQuery, type Role } from "@/api/queries";

import { theme } from "@/theme";

import { RoleButton } from "./RoleButton";

function show(role: Role, button: ReactNode) {
  const client = new QueryClient();
  const user = { id: "u", name: "ada", role, disabled: false, created_at: "2026-01-01T00:00:00Z" };
  client.setQueryData(meQuery.queryKey, { user, setup_required: false });
  render(
    <QueryClientProvider client={client}>
      <MantineProvider theme={theme} env="test">
        {button}
      </MantineProvider>
    </QueryClientProvider>,
  );
}

const button = (onClick: () => void, because?: string) => (
  <RoleButton needs="operator" onClick={onClick} because={because}>
    Train
  </RoleButton>
);

test("who has the role, or a higher one, may press it", async () => {
  const pressed = vi.fn();
  show("admin", button(pressed));
  await userEvent.click(screen.getByRole("button", { name: "Train" }));
  expect(pressed).toHaveBeenCalledOnce();
});

test("others are told which role it takes, and pressing it does nothing", async () => {
  const pressed = vi.fn();
  show("annotator", button(pressed));
  const shown = screen.getByRole("button", { name: "Train" });
  await userEvent.click(shown);
  expect(pressed).not.toHaveBeenCalled();
  expect(shown.getAttribute("aria-disabled")).toBe("true");
  shown.focus();
  expect((await screen.findByRole("tooltip")).textContent).toMatch(/role operator/);
});

test("a reason that is not the role is said too", async () => {
  const pressed = vi.fn();
  show("operator", button(pressed, "It is away."));
  await userEvent.hover(screen.getByRole("button", { name: "Train" }));
  expect((await screen.findByRole("tooltip")).textContent).toBe("It is away.");
});
