import { useSyncExternalStore } from "react";

import { ReconnectingSocket, type Connect } from "./socket";

/** What an event may be about; also the first part of every query key. */
export const TOPICS = ["job", "run", "dataset", "episode", "checkpoint", "evaluation", "model", "robot"] as const;
export type Topic = (typeof TOPICS)[number];

/** connecting: first try. live: events arrive. polling: no socket, pages ask every few seconds. */
export type Connection = "connecting" | "live" | "polling";

export interface EventsOptions {
  url: string;
  /** topics that changed since the last call; all of them after a gap in which events may have been lost */
  changed: (topics: ReadonlySet<Topic>) => void;
  /** the session is over */
  signedOut: () => void;
  connect?: Connect;
}

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
const POLL_MS = 5_000;
const GATHER_MS = 150;
/** The server pings every 20 s: a socket that is silent for longer than two of them is dead. */
const SILENCE_MS = 45_000;
const SIGNED_OUT = 4401;

/** Milliseconds before try number `failures`: 1, 2, 4 ... 30 s, by up to a fifth less so that pages don't come at once. */
export function retryDelay(failures: number, random: number = Math.random()): number {
  const full = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, failures - 1));
  return full * (1 - 0.2 * random);
}

/** The topic of a message; "hello" and "ping" and unknown ones give null. */
export function topicOf(text: string): Topic | null {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof message !== "object" || message === null || !("topic" in message)) return null;
  return TOPICS.find((topic) => topic === message.topic) ?? null;
}

/**
 * The socket over which the server tells what changed. While it is down, `changed` is called with every topic every
 * few seconds, so that pages stay right, only slower. Bursts (a training logs twice a second) are gathered.
 */
export class Events {
  connection: Connection = "connecting";
  private readonly socket: ReconnectingSocket;
  private stopped = true;
  private wasLive = false;
  private pending = new Set<Topic>();
  private gather: ReturnType<typeof setTimeout> | undefined;
  private poll: ReturnType<typeof setInterval> | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly hearers = new Map<Topic, Set<() => void>>();

  constructor(private readonly options: EventsOptions) {
    this.socket = new ReconnectingSocket(
      options.url,
      { text: (text) => this.heard(text), closed: (code) => this.lost(code) },
      { connect: options.connect, pause: (failures) => retryDelay(failures), silence: SILENCE_MS },
    );
  }

  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    window.addEventListener("online", this.now);
    document.addEventListener("visibilitychange", this.now);
    this.socket.start();
  }

  stop(): void {
    this.stopped = true;
    window.removeEventListener("online", this.now);
    document.removeEventListener("visibilitychange", this.now);
    clearTimeout(this.gather);
    clearInterval(this.poll);
    this.gather = this.poll = undefined;
    this.socket.stop();
    this.wasLive = false;
    this.set("connecting");
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** For what is no query: called when something of `topic` changed, or may have. */
  onChange(topic: Topic, hear: () => void): void {
    this.hearers.set(topic, (this.hearers.get(topic) ?? new Set()).add(hear));
  }

  readonly snapshot = (): Connection => this.connection;

  /** The page came back to the front, or the network did: don't wait for the next try. */
  private readonly now = (): void => {
    if (document.visibilityState !== "hidden") this.socket.now();
  };

  private heard(text: string): void {
    if (this.connection !== "live") this.live();
    const topic = topicOf(text);
    if (topic) this.note([topic]);
  }

  private live(): void {
    clearInterval(this.poll);
    this.poll = undefined;
    this.set("live");
    if (this.wasLive) this.note(TOPICS); // what happened in between was not heard
    this.wasLive = true;
  }

  private lost(code: number): void {
    if (code === SIGNED_OUT) this.options.signedOut(); // who may stop us for good
    if (this.stopped) return;
    this.wasLive = true;
    this.set("polling");
    this.poll ??= setInterval(() => {
      if (document.visibilityState !== "hidden") this.note(TOPICS);
    }, POLL_MS);
  }

  private note(topics: Iterable<Topic>): void {
    for (const topic of topics) this.pending.add(topic);
    this.gather ??= setTimeout(() => {
      this.gather = undefined;
      const topics = this.pending;
      this.pending = new Set();
      if (this.stopped) return;
      this.options.changed(topics);
      for (const topic of topics) for (const hear of this.hearers.get(topic) ?? []) hear();
    }, GATHER_MS);
  }

  private set(connection: Connection): void {
    if (this.connection === connection) return;
    this.connection = connection;
    for (const listener of this.listeners) listener();
  }
}

/** How the page hears of changes at the moment. */
export function useConnection(events: Events): Connection {
  return useSyncExternalStore(events.subscribe, events.snapshot);
}
