import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test } from "vitest";

import { NumberField } from "./NumberField";
import { show } from "./testing";

function Held({ mayBeEmpty = false, told }: { mayBeEmpty?: boolean; told: (number | null)[] }) {
  const [value, setValue] = useState<number | null>(0.15);
  const onChange = (next: number | null) => {
    told.push(next);
    setValue(next);
  };
  return <NumberField aria-label="Distance" value={value} onChange={onChange} mayBeEmpty={mayBeEmpty} />;
}

test("a decimal is typed key by key", async () => {
  const told: (number | null)[] = [];
  show(<Held told={told} />);
  const field = screen.getByLabelText<HTMLInputElement>("Distance");
  await userEvent.clear(field);
  expect(field.value).toBe("");
  await userEvent.type(field, "0.205");
  expect(field.value).toBe("0.205");
  expect(told.at(-1)).toBe(0.205);
  expect(told).not.toContain(null);
});

test("whoever leaves it unfinished finds the last number again", async () => {
  const told: (number | null)[] = [];
  show(<Held told={told} />);
  const field = screen.getByLabelText<HTMLInputElement>("Distance");
  await userEvent.clear(field);
  await userEvent.tab();
  expect(field.value).toBe("0.15");
  expect(told).toEqual([]);
});

test("one that may be empty says so", async () => {
  const told: (number | null)[] = [];
  show(<Held told={told} mayBeEmpty />);
  await userEvent.clear(screen.getByLabelText("Distance"));
  expect(told).toEqual([null]);
});
