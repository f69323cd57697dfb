import { screen } from "@testing-library/react";
import { expect, test } from "vitest";

import { show } from "@/ui/testing";

import { Interval } from "./Interval";

test("0 % fills nothing, and its interval is a whisker of its own", () => {
  show(<Interval rate={0} interval={[0, 0.66]} />);
  expect(screen.getByTestId("interval-bar").style.width).toBe("0%");
  expect(screen.getByTestId("interval-whisker").style.width).toBe("66%");
  expect(screen.getByRole("img", { name: "0 %; 95 % interval 0 % to 66 %" })).toBeTruthy();
});

test("a rate without an interval has no whisker", () => {
  show(<Interval rate={0.5} interval={null} />);
  expect(screen.getByTestId("interval-bar").style.width).toBe("50%");
  expect(screen.queryByTestId("interval-whisker")).toBeNull();
});
