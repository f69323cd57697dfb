import { beforeEach, describe, expect, it, vi } from "vitest";

import { CAMERAS, expectExact, fakes, framesOf, renewFakes, settle, textOf } from "./fakeFrames";

beforeEach(renewFakes);

describe("Frames", () => {
  it("fetches a cold step alone and the pack around it afterwards", async () => {
    const frames = framesOf(400);
    frames.seek({ step: 123, quality: "full" });
    expect(fakes.server.asked).toEqual([{ start: 123, count: 1, stride: 1, quality: "full" }]);
    fakes.server.open[0]!.answer();
    await settle();
    expectExact(frames.best(123), 123);
    expect(fakes.server.asked.slice(1)).toContainEqual({ start: 100, count: 50, stride: 1, quality: "full" });
    await fakes.server.answerAll();
    expectExact(frames.best(124), 124);
    expectExact(frames.best(122), 122);
    // and what lies around it
    const starts = fakes.server.asked.slice(1).map(({ start }) => start);
    expect(starts.sort((a, b) => a - b)).toEqual([50, 100, 150]);
  });

  it("shows the right step in every camera at any seek, the ends and a short last pack included", async () => {
    for (const steps of [1, 49, 50, 51, 100, 10_000]) {
      const frames = framesOf(steps);
      for (const step of [0, steps - 1, Math.floor(steps / 2), Math.floor(steps / 3)]) {
        frames.seek({ step, quality: "full" });
        await fakes.server.answerAll();
        expectExact(frames.best(step), step);
      }
      expect(fakes.server.asked.every(({ start, count }) => start >= 0 && start + count <= steps)).toBe(true);
      frames.dispose();
      fakes.server.asked.length = 0;
    }
  });

  it("cancels what a later seek makes useless", async () => {
    const frames = framesOf(1000);
    for (const step of [10, 300, 600, 900]) frames.seek({ step, quality: "proxy", scrubbing: true });
    await settle();
    expect(fakes.server.open.map(({ request }) => request.start)).toEqual([900]);
    await fakes.server.answerAll();
    expectExact(frames.best(900), 900);
    expect(frames.best(10)).toBeUndefined();
    expect(fakes.server.asked.every(({ count }) => count === 1)).toBe(true);
  });

  it("fetches ahead of playback, at most two packs at once", async () => {
    const frames = framesOf(1000);
    frames.seek({ step: 0, quality: "full" });
    await fakes.server.answerAll();
    frames.seek({ step: 0, quality: "full", rate: 100, stride: 2 });
    expect(fakes.server.open.length).toBeLessThanOrEqual(2);
    await fakes.server.answerAll();
    const ahead = fakes.server.asked.filter(({ stride }) => stride === 2);
    expect(ahead.map(({ start, count }) => [start, count])).toEqual([
      [0, 50],
      [100, 50],
      [200, 50],
      [300, 50],
    ]);
    for (const step of [2, 4, 6, 20]) expectExact(frames.best(step), step);
    expect(frames.best(11)).toBeUndefined();
  });

  it("replaces proxies by full frames when it stands", async () => {
    const frames = framesOf(200);
    frames.seek({ step: 60, quality: "proxy", scrubbing: true });
    await fakes.server.answerAll();
    expect(frames.best(60)?.quality).toBe("proxy");
    frames.seek({ step: 60, quality: "full" });
    await fakes.server.answerAll();
    expect(frames.best(60)?.quality).toBe("full");
    expectExact(frames.best(60), 60);
  });

  it("fetches no proxies of what is there at full size", async () => {
    const frames = framesOf(200);
    frames.seek({ step: 60, quality: "full" });
    await fakes.server.answerAll();
    fakes.server.asked.length = 0;
    frames.seek({ step: 70, quality: "proxy", rate: 50 });
    await fakes.server.answerAll();
    expectExact(frames.best(74), 74);
    expect(frames.best(74)?.quality).toBe("full");
    expect(fakes.server.asked.every(({ start, quality }) => start >= 150 && quality === "proxy")).toBe(true);
  });

  it("decodes what a repeated move will show next", async () => {
    const frames = framesOf(1000);
    frames.seek({ step: 500, quality: "full", heading: -10 });
    await fakes.server.answerAll();
    for (const step of [490, 480, 470, 499, 501, 510]) expectExact(frames.best(step), step);
    expect(frames.best(520)).toBeUndefined();
  });

  it("keeps to its budget and closes what it drops, never what is shown", async () => {
    const frames = framesOf(500, { imageBudget: 20 * 3 * 400 });
    for (let step = 0; step < 200; step += 1) {
      frames.seek({ step, quality: "full" });
      await fakes.server.answerAll();
      expectExact(frames.best(step), step);
    }
    expect(fakes.made.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(21 * 3);
    frames.dispose();
    expect(fakes.made.every(({ closed }) => closed)).toBe(true);
  });

  it("lets others run while frames are decoded", async () => {
    let decoding = 0;
    const frames = framesOf(200, {
      decode: async (jpeg) => {
        decoding += 1;
        await new Promise((resolve) => setTimeout(resolve, 1)); // not in this turn, as in a browser
        return { text: textOf(jpeg), width: 1, height: 1, closed: false, close: () => undefined };
      },
    });
    frames.seek({ step: 60, quality: "full" });
    for (let round = 0; round < 20; round += 1) {
      for (const entry of [...fakes.server.open]) entry.answer();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    for (const step of [58, 59, 60, 61, 62]) expectExact(frames.best(step), step);
    expect(decoding).toBe(5 * CAMERAS.length);
  });

  it("tries again after a failure and says so", async () => {
    vi.useFakeTimers();
    const said: unknown[] = [];
    const frames = framesOf(100, { failed: (error) => said.push(error) });
    frames.seek({ step: 5, quality: "full" });
    fakes.server.open[0]!.fail(new Error("away"));
    await settle();
    expect(fakes.server.open).toEqual([]);
    await vi.advanceTimersByTimeAsync(1100);
    await fakes.server.answerAll();
    expectExact(frames.best(5), 5);
    expect(said.map((each) => (each instanceof Error ? each.message : each))).toEqual(["away", null]);
    vi.useRealTimers();
  });
});
