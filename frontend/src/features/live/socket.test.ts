import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { LiveSocket, type SocketHandlers, type Wire } from "./socket";

class FakeWire implements Wire {
  binaryType: BinaryType = "blob";
  bufferedAmount = 0;
  readyState = 0;
  onopen: WebSocket["onopen"] = null;
  onmessage: WebSocket["onmessage"] = null;
  onclose: WebSocket["onclose"] = null;
  sent: string[] = [];
  closed = false;
  send = (data: unknown) => void this.sent.push(String(data));
  close = () => void (this.closed = true);
  open() {
    this.readyState = 1;
    this.onopen?.call(this as unknown as WebSocket, new Event("open"));
  }
  say(data: unknown) {
    this.onmessage?.call(this as unknown as WebSocket, new MessageEvent("message", { data }));
  }
  lose(code: number, reason = "") {
    this.readyState = 3;
    this.onclose?.call(this as unknown as WebSocket, { code, reason } as CloseEvent);
  }
}

let wires: FakeWire[];
beforeEach(() => {
  wires = [];
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

function socket(handlers: SocketHandlers = {}) {
  return new LiveSocket("ws://here", handlers, () => {
    const wire = new FakeWire();
    wires.push(wire);
    return wire;
  });
}

const newest = () => wires.at(-1)!;

test("a lost connection is made again, at first at once and then less often", () => {
  const live = socket();
  live.start();
  newest().open();
  newest().lose(1006);
  vi.advanceTimersByTime(250);
  expect(wires).toHaveLength(2);
  newest().lose(1006);
  vi.advanceTimersByTime(499);
  expect(wires).toHaveLength(2);
  vi.advanceTimersByTime(1);
  expect(wires).toHaveLength(3);
});

test("a socket that opens and is closed at once counts as not reached", () => {
  socket().start();
  for (const pause of [250, 500, 1000]) {
    newest().open();
    newest().lose(1013, "The robot host does not answer");
    const before = wires.length;
    vi.advanceTimersByTime(pause - 1);
    expect(wires).toHaveLength(before);
    vi.advanceTimersByTime(1);
    expect(wires).toHaveLength(before + 1);
  }
});

test("where the server says no it is asked rarely, and its reason is told", () => {
  const closed = vi.fn();
  socket({ closed }).start();
  newest().lose(4404, "There is no robot x");
  expect(closed).toHaveBeenCalledWith(4404, "There is no robot x");
  vi.advanceTimersByTime(3_900);
  expect(wires).toHaveLength(1);
  vi.advanceTimersByTime(100);
  expect(wires).toHaveLength(2);
});

test("nothing is sent before it is open, and what an old connection says late is not heard", () => {
  const text = vi.fn();
  const live = socket({ text });
  live.start();
  expect(live.send({ type: "pulse" })).toBe(false);
  const first = newest();
  first.open();
  expect(live.send({ type: "pulse" })).toBe(true);
  expect(first.sent).toEqual(['{"type":"pulse"}']);
  live.again();
  expect(first.closed).toBe(true);
  first.say("late");
  expect(text).not.toHaveBeenCalled();
  newest().open();
  newest().say("now");
  expect(text).toHaveBeenCalledWith("now");
});

test("stopped is stopped", () => {
  const live = socket();
  live.start();
  newest().lose(1006);
  live.stop();
  vi.advanceTimersByTime(60_000);
  expect(wires).toHaveLength(1);
});
