import { beforeEach, describe, expect, it, vi } from "vitest";

import { expectExact, fakes, framesOf, packOf, renewFakes, settle, type Fake } from "./fakeFrames";
import { type StepFrames } from "./frames";
import { Player } from "./player";

beforeEach(renewFakes);

describe("Player", () => {
  /** Runs animation frames by hand, 60 a second. */
  class Clock {
    now = 0;
    private due: ((now: number) => void)[] = [];
    readonly schedule = (tick: (now: number) => void): number => this.due.push(tick);
    async run(frames: number): Promise<void> {
      for (let count = 0; count < frames; count += 1) {
        this.now += 1000 / 60;
        const due = this.due;
        this.due = [];
        for (const tick of due) tick(this.now);
        await settle();
      }
    }
  }

  function playerOf(steps: number, fps: number | null = 50, auto = true) {
    const clock = new Clock();
    const drawn: StepFrames<Fake>[] = [];
    const source = framesOf(steps, {
      ready: () => player.wake(),
      ...(auto && {
        fetchPack: ({ start, count, quality, stride }) => Promise.resolve(packOf(start, count, quality, stride)),
      }),
    });
    const player: Player<Fake> = new Player<Fake>({
      steps,
      fps,
      source,
      proxies: true,
      draw: (shown) => {
        expectExact(shown, player.state.step);
        drawn.push(shown);
      },
      schedule: clock.schedule,
      cancel: () => undefined,
    });
    player.start();
    return { player, clock, drawn };
  }

  it("plays in real time and stops at the last step", async () => {
    const { player, clock, drawn } = playerOf(120);
    await clock.run(10);
    player.play();
    await clock.run(61);
    expect(player.state.step).toBeGreaterThan(45);
    expect(player.state.step).toBeLessThanOrEqual(50);
    await clock.run(200);
    expect([player.state.step, player.state.shown, player.state.playing]).toEqual([119, 119, false]);
    const steps = drawn.map(({ step }) => step);
    expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
    player.play();
    expect(player.state.step).toBe(0);
  });

  it("waits for late frames instead of showing others", async () => {
    const { player, clock, drawn } = playerOf(400, 50, false);
    await fakes.server.answerAll();
    await clock.run(2);
    fakes.server.open.length = 0;
    player.seek(290);
    player.play();
    await clock.run(60);
    expect([player.state.step, player.state.shown]).toEqual([290, 0]);
    expect(drawn.at(-1)?.step).toBe(0);
    await fakes.server.answerAll();
    await clock.run(10);
    expect(player.state.shown).toBeGreaterThanOrEqual(290);
  });

  it("loops a segment", async () => {
    const { player, clock, drawn } = playerOf(400);
    await clock.run(5);
    player.setLoop({ start: 100, end: 120 });
    player.play();
    await clock.run(180);
    const steps = drawn.map(({ step }) => step).filter((step) => step !== 0);
    expect(Math.min(...steps)).toBe(100);
    expect(Math.max(...steps)).toBeLessThan(120);
    expect(player.state.playing).toBe(true);
  });

  it("plays four times as fast with no more frames than a display shows, from any step", async () => {
    const { player, clock, drawn } = playerOf(1000);
    await clock.run(5);
    player.seek(31);
    await clock.run(5);
    player.setSpeed(4);
    player.play();
    await clock.run(60);
    const steps = drawn.map(({ step }) => step).filter((step) => step > 31);
    expect(steps.every((step) => step % 4 === 0)).toBe(true);
    expect(player.state.step).toBeGreaterThan(210);
    expect(drawn.every(({ quality }) => quality === "full")).toBe(true);
  });

  it("goes on with proxies where full frames come too late, until it is paused", async () => {
    const { player, clock, drawn } = playerOf(400, 50, false);
    await fakes.server.answerAll();
    await clock.run(2);
    player.seek(100);
    player.play();
    await clock.run(40);
    const wanted = fakes.server.asked.filter(({ quality }) => quality === "proxy");
    expect(wanted.length).toBeGreaterThan(0);
    for (const entry of fakes.server.open.filter(({ request }) => request.quality === "proxy")) entry.answer();
    await settle();
    await clock.run(3);
    expect(drawn.at(-1)?.quality).toBe("proxy");
    player.pause();
    await fakes.server.answerAll();
    await clock.run(3);
    expect(drawn.at(-1)?.quality).toBe("full");
  });

  it("plays proxies where frames are shown small, and stands with full ones", async () => {
    const { player, clock, drawn } = playerOf(400);
    await clock.run(5);
    player.setSmall(true);
    expect(drawn.at(-1)?.quality).toBe("full");
    player.play();
    await clock.run(150);
    expect(drawn.at(-1)?.quality).toBe("proxy");
    player.pause();
    await clock.run(5);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: player.state.step });
  });

  it("shows proxies while a key is held, full frames a moment later", async () => {
    vi.useFakeTimers();
    const { player, clock, drawn } = playerOf(4000);
    await clock.run(5);
    player.move(50);
    await clock.run(3);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: 50 });
    for (let count = 0; count < 5; count += 1) player.move(50, true);
    await clock.run(3);
    expect(drawn.at(-1)).toMatchObject({ quality: "proxy", step: 300 });
    await vi.advanceTimersByTimeAsync(200);
    await clock.run(3);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: 300 });
    vi.useRealTimers();
  });

  it("uses proxies while it is dragged, full frames when it stands", async () => {
    const { player, clock, drawn } = playerOf(400);
    await clock.run(5);
    player.seek(222, true);
    await clock.run(5);
    expect(drawn.at(-1)).toMatchObject({ quality: "proxy", step: 222 });
    player.seek(222);
    await clock.run(5);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: 222 });
  });

  it("stays within the episode", () => {
    const { player } = playerOf(10);
    player.seek(99);
    expect(player.state.step).toBe(9);
    player.move(-50);
    expect(player.state.step).toBe(0);
    player.shiftSpeed(-1);
    expect(player.state.speed).toBe(0.5);
    for (let count = 0; count < 9; count += 1) player.shiftSpeed(1);
    expect(player.state.speed).toBe(4);
  });
});
