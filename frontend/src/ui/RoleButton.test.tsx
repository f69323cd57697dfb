import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { RoleButton } from "./RoleButton";
import { show } from "./testing";

const button = (onClick: () => void, because?: string) => (
  <RoleButton needs="operator" onClick={onClick} because={because}>
    Train
  </RoleButton>
);

test("who has the role, or a higher one, may press it", async () => {
  const pressed = vi.fn();
  show(button(pressed), { role: "admin" });
  await userEvent.click(screen.getByRole("button", { name: "Train" }));
  expect(pressed).toHaveBeenCalledOnce();
});

test("others are told which role it takes, and pressing it does nothing", async () => {
  const pressed = vi.fn();
  show(button(pressed), { role: "annotator" });
  const shown = screen.getByRole("button", { name: "Train" });
  await userEvent.click(shown);
  expect(pressed).not.toHaveBeenCalled();
  expect(shown.getAttribute("aria-disabled")).toBe("true");
  shown.focus();
  expect((await screen.findByRole("tooltip")).textContent).toMatch(/role operator/);
});

test("a reason that is not the role is said too", async () => {
  const pressed = vi.fn();
  show(button(pressed, "It is away."), { role: "operator" });
  await userEvent.hover(screen.getByRole("button", { name: "Train" }));
  expect((await screen.findByRole("tooltip")).textContent).toBe("It is away.");
});
