import { beforeEach, expect, test, vi } from "vitest";

import { Driver, DRIVE_MS, GAP_MS, PULSE_MS } from "./driver";
import { LONGEST_DELAY_MS, SPARE_MS } from "./evidence";
import { aState } from "./fixtures";
import { FULL_LINEAR } from "./keys";
import type { Drive, Pulse, Status } from "./messages";
import type { SocketHandlers } from "./socket";

let driver: Driver;
let sent: (Drive | Pulse)[];
let handlers: SocketHandlers;
let socket: { up: boolean; wanted: boolean; waiting: number };
let tick: () => void;
let period: number;
let now: number;
let attended: boolean;

beforeEach(() => {
  sent = [];
  now = 0;
  attended = true;
  period = 0;
  socket = { up: false, wanted: false, waiting: 0 };
  driver = new Driver({
    socket: (given) => {
      handlers = given;
      return {
        start: () => void (socket.wanted = true),
        stop: () => {
          socket.wanted = socket.up = false;
        },
        send: (message) => {
          sent.push(message as Drive | Pulse);
          return true;
        },
        get up() {
          return socket.up;
        },
        get waiting() {
          return socket.waiting;
        },
      };
    },
    ticker: (given) => {
      tick = given;
      return { every: (milliseconds) => void (period = milliseconds), end: () => void (period = 0) };
    },
    now: () => now,
    attended: () => attended,
  });
});

/** A key goes down now. */
function press(code: string) {
  driver.keyDown(code, now, false);
  driver.press(code);
}

/** Shift and Q are held, and the system repeats Q, until `until`; ticks come in between. */
function hold(until: number) {
  press("KeyQ");
  const first = now + 500;
  for (now += 20; now <= until; now += 20) {
    if (now >= first && (now - first) % 40 === 0) driver.keyDown("KeyQ", now, true);
    tick();
  }
  now -= 20;
}

function open() {
  socket.up = true;
  handlers.opened?.();
}

function answer() {
  handlers.text?.(JSON.stringify({ type: "echo", seq: 1, sent: 0, applied: null }));
}

function robot({ mode = "idle", ...status }: Partial<Status["status"]> & { mode?: Status["mode"] } = {}): Status {
  return aState({ mode }, status);
}

const last = () => sent.at(-1) as Drive;

test("the robot is held by this page only while it drives", () => {
  expect(socket.wanted).toBe(false);
  driver.setDriving(true);
  expect(socket.wanted).toBe(true);
  expect(period).toBe(DRIVE_MS);
  driver.setDriving(false);
  expect(socket.wanted).toBe(false);
  expect(period).toBe(0);
});

test("keys move nothing without the dead-man, and numbers grow with each message", () => {
  driver.setDriving(true);
  open();
  press("KeyW");
  tick();
  expect(last()).toMatchObject({ type: "drive", seq: 2, deadman: false });
  expect(last().left.linear).toEqual([0, 0, 0]);
  driver.hold();
  press("KeyW");
  tick();
  expect(last().deadman).toBe(true);
  expect(last().left.linear[1]).toBeCloseTo(0.5 * FULL_LINEAR);
  expect(sent.map(({ seq }) => seq)).toEqual(sent.map((_, index) => index + 1));
});

test("keys up: velocities of zero go on being sent", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  press("KeyW");
  driver.keyUp("KeyW", now);
  tick();
  expect(last()).toMatchObject({ deadman: true });
  expect(last().left.linear).toEqual([0, 0, 0]);
});

test("letting go is told at once, and keys that are still down are forgotten", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  press("KeyW");
  const before = sent.length;
  driver.release("The page lost the keyboard.");
  expect(sent.length).toBe(before + 1);
  expect(last().deadman).toBe(false);
  expect(last().left.linear).toEqual([0, 0, 0]);
  driver.hold();
  tick();
  expect(last().left.linear).toEqual([0, 0, 0]);
});

test("a key counts while the system repeats it, and each message tells how old its newest sign is", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  hold(3000);
  expect(driver.snapshot()).toMatchObject({ deadman: true, repeatTrouble: null });
  expect(last().evidence_ms).toBe((3000 - 500) % 40);
  expect(last().left.linear[2]).toBeLessThan(0);
});

test("at the first repeat that is missing everything is let go, and has to be pressed afresh", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  hold(3000);
  const due = 2980 + 40; // the last one came at 2980
  for (now = 3020; driver.snapshot().deadman; now += 20) tick();
  expect(now - 20).toBeLessThanOrEqual(due + SPARE_MS + DRIVE_MS);
  expect(now - 20).toBeGreaterThan(due + SPARE_MS);
  expect(last()).toMatchObject({ deadman: false });
  expect(driver.snapshot().released).toContain("no more sign");
  driver.keyDown("KeyQ", now, true); // it comes after all
  tick();
  expect(last()).toMatchObject({ deadman: false });
  expect(last().left.linear).toEqual([0, 0, 0]);
});

test("a system that repeats no key: each press moves for a moment, and the page says why", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  press("KeyQ");
  while (driver.snapshot().deadman) {
    now += 20;
    tick();
  }
  expect(now).toBeLessThanOrEqual(LONGEST_DELAY_MS + DRIVE_MS);
  driver.keyUp("KeyQ", now + 100);
  tick();
  expect(driver.snapshot().repeatTrouble).toBe("off");
});

test("the dead-man alone needs no sign: nothing moves", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  for (now = 20; now < 5000; now += 20) tick();
  expect(last()).toMatchObject({ deadman: true, evidence_ms: null });
});

test("when the newest of two keys goes up the other one stops too; the dead-man stays", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  press("KeyW");
  press("KeyD");
  driver.keyUp("KeyD", now);
  expect(last()).toMatchObject({ deadman: true });
  expect(last().left.linear).toEqual([0, 0, 0]);
  expect(driver.snapshot().released).not.toBeNull();
  press("KeyW");
  expect(last().left.linear[1]).toBeGreaterThan(0);
});

test("when an older key goes up the newer one goes on", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  press("KeyW");
  press("KeyD");
  driver.keyUp("KeyW", now);
  expect(last().left.linear[0]).toBeGreaterThan(0);
});

test("a page that lost the keyboard without being told notices with the next tick, and takes no press", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  press("KeyW");
  attended = false;
  tick();
  expect(last()).toMatchObject({ deadman: false });
  driver.hold();
  expect(driver.snapshot().deadman).toBe(false);
});

test("a page that slept lets go before it moves anything", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  press("KeyW");
  now += GAP_MS + 1;
  tick();
  expect(last()).toMatchObject({ deadman: false });
  expect(driver.snapshot().released).toContain("asleep");
});

test("signs that waited while the page was busy are taken for what they are: of their time", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  hold(3000);
  now = 3150; // busy for 150 ms; what the system saw meanwhile comes first
  for (const at of [3020, 3060, 3100, 3140]) driver.keyDown("KeyQ", at, true);
  tick();
  expect(last()).toMatchObject({ deadman: true, evidence_ms: 10 });
  now = 3300;
  driver.keyDown("KeyW", 3299, false); // another key does not speak for one that was overdue before
  driver.press("KeyW");
  expect(driver.snapshot()).toMatchObject({ deadman: false });
});

test("a lost connection lets the dead-man go; it is not held when the connection is back", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  socket.up = false;
  handlers.closed?.(1006, "");
  expect(driver.snapshot()).toMatchObject({ deadman: false, connected: false, released: "The connection was lost." });
  open();
  expect(last()).toMatchObject({ seq: 1, deadman: false });
});

test("a hidden page neither drives nor supervises", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  driver.hide();
  expect(last().deadman).toBe(false);
  driver.setDriving(false);
  void driver.superviseStart(() => Promise.resolve());
  expect(period).toBe(PULSE_MS);
  driver.hide();
  expect(period).toBe(0);
  expect(socket.wanted).toBe(false);
});

test("a stop and a re-arming let the dead-man go, and the new epoch is sent", () => {
  driver.setDriving(true);
  open();
  driver.follow(robot({ epoch: 4 }));
  driver.hold();
  driver.follow(robot({ epoch: 5, state: "stopped" }));
  expect(driver.snapshot().deadman).toBe(false);
  driver.follow(robot({ epoch: 6 }));
  tick();
  expect(last()).toMatchObject({ epoch: 6, deadman: false });
});

test("a re-arming that is seen before its stop lets the dead-man go too", () => {
  driver.setDriving(true);
  open();
  driver.follow(robot({ epoch: 4 }));
  driver.hold();
  driver.follow(robot({ epoch: 6 }));
  expect(driver.snapshot().deadman).toBe(false);
});

/** This page has begun a policy. */
async function supervised(start = () => Promise.resolve()) {
  const supervising = driver.superviseStart(start);
  open();
  expect(sent.at(-1)?.type).toBe("pulse");
  answer();
  await supervising;
}

test("supervising sends pulses until the policy pauses", async () => {
  await supervised();
  tick();
  expect(sent.at(-1)?.type).toBe("pulse");
  driver.follow(robot({ mode: "idle" })); // not started yet
  expect(driver.snapshot().supervising).toBe(true);
  driver.follow(robot({ mode: "policy" }));
  driver.follow(robot({ mode: "paused" }));
  now = 500;
  driver.follow(robot({ mode: "paused" }));
  expect(driver.snapshot().supervising).toBe(false);
  expect(socket.wanted).toBe(false);
});

test("resuming a paused policy is not undone by a state from before", async () => {
  await supervised();
  driver.follow(robot({ mode: "paused" }));
  driver.follow(robot({ mode: "policy" })); // the answer
  driver.follow(robot({ mode: "paused" })); // told before it
  now = 90;
  driver.follow(robot({ mode: "policy" }));
  now = 5000;
  driver.follow(robot({ mode: "policy" }));
  expect(driver.snapshot().supervising).toBe(true);
});

test("a second click adds nothing to the start that is under way", async () => {
  let begun = 0;
  let begin: () => void = () => undefined;
  const first = supervised(() => {
    begun += 1;
    return new Promise<void>((resolve) => (begin = resolve));
  });
  await Promise.resolve();
  await driver.superviseStart(() => Promise.reject(new Error("never asked")));
  driver.follow(robot({ mode: "policy" }));
  driver.follow(robot({ mode: "idle" })); // the one before has made way
  now = 5000; // and the page was busy
  driver.follow(robot({ mode: "idle" }));
  expect(driver.snapshot().supervising).toBe(true);
  await vi.waitFor(() => expect(begun).toBe(1));
  begin();
  await first;
  driver.follow(robot({ mode: "policy" }));
  expect(driver.snapshot().supervising).toBe(true);
});

test("what may not begin ends the supervision, unless another policy acts under it", async () => {
  const refused = () => Promise.reject(new Error("a policy has the robot already"));
  await supervised(refused);
  expect(driver.snapshot().supervising).toBe(false);
  await supervised();
  driver.follow(robot({ mode: "policy" }));
  await driver.superviseStart(refused);
  driver.follow(robot({ mode: "policy" }));
  expect(driver.snapshot().supervising).toBe(true);
});

test("held by somebody else: said in words, and not asked again and again", async () => {
  let asked = false;
  const supervising = driver.superviseStart(() => {
    asked = true;
    return Promise.resolve();
  });
  open(); // refused sockets open too, and are closed then
  handlers.closed?.(4409, "bob has the controls");
  await supervising;
  expect(asked).toBe(false);
  expect(driver.snapshot()).toMatchObject({ supervising: false, driving: false });
  expect(driver.snapshot().refused?.message).toBe("bob has the controls");
  expect(socket.wanted).toBe(false);
});

test("refusals of what was to move are told; passing ones are not", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  handlers.text?.(JSON.stringify({ type: "refusal", seq: 1, code: "stale", message: "late" }));
  expect(driver.snapshot().refused).toBeNull();
  handlers.text?.(JSON.stringify({ type: "refusal", seq: 2, code: "reclutch", message: "let go and press again" }));
  expect(driver.snapshot().refused?.message).toBe("let go and press again");
  driver.release(null);
  driver.hold();
  expect(driver.snapshot().refused).toBeNull();
});

test("what would wait in the browser is not sent at all", () => {
  driver.setDriving(true);
  socket.waiting = 100_000;
  open();
  tick();
  expect(sent).toEqual([]);
});

test("round trips", () => {
  driver.setDriving(true);
  open();
  now = 1000;
  handlers.text?.(JSON.stringify({ type: "echo", seq: 1, sent: 992, applied: 3 }));
  expect(driver.snapshot()).toMatchObject({ echo: 8, applied: 3 });
});

test("choosing another arm forgets the keys", () => {
  driver.setDriving(true);
  open();
  driver.hold();
  press("KeyW");
  driver.choose("right");
  tick();
  expect(last().right.linear).toEqual([0, 0, 0]);
});
