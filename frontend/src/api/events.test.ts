// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Events, retryDelay, TOPICS, topicOf, type Topic } from "./events";

/** A socket whose other end is the test. */
class Socket {
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  closed = false;

  close() {
    this.closed = true;
  }

  says(topic: string) {
    this.onmessage?.({ data: JSON.stringify({ topic, id: "x" }) });
  }

  breaks(code = 1006) {
    this.onclose?.({ code });
  }
}

function setUp() {
  const sockets: Socket[] = [];
  const changes: ReadonlySet<Topic>[] = [];
  const signedOut = vi.fn();
  const events = new Events({
    url: "ws://studio/api/events",
    changed: (topics) => changes.push(topics),
    signedOut,
    connect: () => {
      const socket = new Socket();
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
  });
  events.start();
  return { events, sockets, changes, signedOut, last: () => sockets.at(-1)! };
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("a burst of events becomes one change, with each topic once", () => {
  const { changes, last } = setUp();
  last().says("hello");
  for (const topic of ["job", "run", "job", "nonsense", "job"]) last().says(topic);
  vi.advanceTimersByTime(200);
  expect(changes).toEqual([new Set(["job", "run"])]);
});

test("what is no query hears of its topic alone, and of all after a gap", () => {
  const { events, last } = setUp();
  const heard = vi.fn();
  events.onChange("dataset", heard);
  last().says("hello");
  last().says("job");
  vi.advanceTimersByTime(200);
  expect(heard).not.toHaveBeenCalled();
  last().says("dataset");
  vi.advanceTimersByTime(200);
  expect(heard).toHaveBeenCalledTimes(1);
  last().breaks();
  vi.advanceTimersByTime(5_200);
  expect(heard).toHaveBeenCalledTimes(2);
});

test("the first hello changes nothing: the page has just asked for everything", () => {
  const { changes, events, last } = setUp();
  last().says("hello");
  vi.advanceTimersByTime(60_000 - 20_000);
  expect(events.connection).toBe("live");
  expect(changes).toEqual([]);
});

test("while the socket is down everything is asked again every five seconds", () => {
  const { changes, events, last } = setUp();
  last().says("hello");
  last().breaks();
  expect(events.connection).toBe("polling");
  vi.advanceTimersByTime(5_200);
  expect(changes).toEqual([new Set(TOPICS)]);
});

test("it connects again, and asks for everything that was missed", () => {
  const { changes, events, sockets, last } = setUp();
  last().says("hello");
  last().breaks();
  vi.advanceTimersByTime(1_000);
  expect(sockets).toHaveLength(2);
  last().says("hello");
  vi.advanceTimersByTime(200);
  expect(events.connection).toBe("live");
  expect(changes).toEqual([new Set(TOPICS)]);
  vi.advanceTimersByTime(20_000);
  expect(changes).toHaveLength(1);
});

test("tries become rarer, but never rarer than twice a minute", () => {
  expect([1, 2, 3, 4, 5, 6, 20].map((failures) => retryDelay(failures, 0))).toEqual([
    1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
  ]);
  expect(retryDelay(1, 1)).toBe(800);
});

test("a socket that is silent for two pings is dead", () => {
  const { events, sockets, last } = setUp();
  last().says("hello");
  vi.advanceTimersByTime(20_000);
  last().says("ping");
  vi.advanceTimersByTime(44_000);
  expect(events.connection).toBe("live");
  vi.advanceTimersByTime(2_000);
  expect(sockets[0]!.closed).toBe(true);
  expect(events.connection).toBe("polling");
});

test("a session that is over is told, and a late word of a dead socket is not heard", () => {
  const { changes, signedOut, sockets, last } = setUp();
  last().says("hello");
  last().breaks(4401);
  expect(signedOut).toHaveBeenCalledOnce();
  sockets[0]!.says("job");
  vi.advanceTimersByTime(200);
  expect(changes).toEqual([]);
});

test("stopped means stopped", () => {
  const { changes, events, sockets, last } = setUp();
  last().says("hello");
  last().says("job");
  events.stop();
  vi.advanceTimersByTime(120_000);
  expect(sockets).toHaveLength(1);
  expect(sockets[0]!.closed).toBe(true);
  expect(changes).toEqual([]);
});

test("when the network is back it does not wait", () => {
  const { sockets, last } = setUp();
  last().says("hello");
  last().breaks();
  window.dispatchEvent(new Event("online"));
  expect(sockets).toHaveLength(2);
});

test("only events about something count", () => {
  expect(topicOf('{"topic": "run", "id": "x"}')).toBe("run");
  expect(topicOf('{"topic": "ping", "id": ""}')).toBeNull();
  expect(topicOf("not json")).toBeNull();
});
