import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { ConfirmButton } from "./ConfirmButton";
import { show } from "./testing";

function remove(action: () => unknown) {
  show(
    <ConfirmButton
      needs="operator"
      question="Delete the run?"
      explanation="Its checkpoints stay."
      confirmLabel="Delete it"
      action={action}
    >
      Delete
    </ConfirmButton>,
  );
}

test("it asks first, says what stays safe, and acts on a yes", async () => {
  const action = vi.fn();
  remove(action);
  await userEvent.click(screen.getByRole("button", { name: "Delete" }));
  const asked = await screen.findByRole("dialog", { name: "Delete the run?" });
  expect(asked.textContent).toContain("Its checkpoints stay.");
  expect(action).not.toHaveBeenCalled();
  await userEvent.click(screen.getByTestId("confirm-yes"));
  await waitFor(() => expect(action).toHaveBeenCalledOnce());
});

test("on a no nothing is done", async () => {
  const action = vi.fn();
  remove(action);
  await userEvent.click(screen.getByRole("button", { name: "Delete" }));
  await userEvent.click(await screen.findByTestId("confirm-no"));
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  expect(action).not.toHaveBeenCalled();
});

test("an error of what was confirmed is told", async () => {
  remove(() => Promise.reject(new Error("It is being evaluated.")));
  await userEvent.click(screen.getByRole("button", { name: "Delete" }));
  await userEvent.click(await screen.findByTestId("confirm-yes"));
  expect(await screen.findByText("It is being evaluated.")).toBeTruthy();
});
