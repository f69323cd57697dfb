import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test } from "vitest";

import { NumberField } from "./NumberField";
import { show } from "./testing";

function Held({ told, ...rest }: { mayBeEmpty?: boolean; above?: number; told: (number | null)[] }) {
  const [value, setValue] = useState<number | null>(0.15);
  const onChange = (next: number | null) => {
    told.push(next);
    setValue(next);
  };
  return <NumberField aria-label="Distance" value={value} onChange={onChange} {...rest} />;
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

test("a bound that the value may not have is no value", async () => {
  const told: (number | null)[] = [];
  show(<Held told={told} above={0} />);
  const field = screen.getByLabelText<HTMLInputElement>("Distance");
  await userEvent.clear(field);
  await userEvent.type(field, "0");
  expect(screen.getByText("More than 0.")).toBeTruthy();
  await userEvent.type(field, ".2");
  expect(screen.queryByText("More than 0.")).toBeNull();
  await userEvent.clear(field);
  await userEvent.type(field, "-1");
  await userEvent.tab();
  expect(field.value).toBe("0.2");
  expect(told.filter((each) => each !== null && each <= 0)).toEqual([]);
});
