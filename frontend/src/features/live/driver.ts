/**
 * The page's side of the control socket: what it sends while a person drives or supervises a policy, and when not.
 * No React and no DOM. The socket is open only while this page drives or supervises, because one page holds a robot.
 */
import { Keyboard, type RepeatTrouble } from "./evidence";
import { twists, type Arms } from "./keys";
import type { Drive, Echo, Pulse, Refusal, Status } from "./messages";
import type { LiveSocket, SocketHandlers } from "./socket";
import type { MakeTicker, Ticker } from "./ticker";

export const DRIVE_MS = 20;
export const PULSE_MS = 40;
/** After a longer gap between two ticks the page was asleep or held up, and may have missed the end of a key. */
export const GAP_MS = 200;
/** More than this waiting to leave the browser: what is added now would arrive too late to mean anything. */
const MOST_WAITING_BYTES = 4096;
/** Refusals that the next message makes good; people need not read them. */
const PASSING = new Set<Refusal["code"]>(["stale", "out_of_order", "epoch", "malformed"]);
/** The answer to a request may overtake states from before it, which come over another connection. */
const OVERTAKEN_MS = 400;
/** Close codes from here on: the server says no. */
const REFUSED = 4400;
const SMOOTHING = 0.1;
/** Round trips are measured with each message and told this often: nobody reads faster. */
const TELL_MS = 250;

export interface DriverView {
  /** the page is to drive: keys move the robot while the dead-man is held */
  driving: boolean;
  /** the page supervises a policy, which pauses without it */
  supervising: boolean;
  connected: boolean;
  deadman: boolean;
  held: ReadonlySet<string>;
  arms: Arms;
  /** share of the full speed */
  speed: number;
  /** why nothing moves though somebody wants it to, for people */
  refused: Pick<Refusal, "code" | "message"> | null;
  /** why the dead-man was let go by itself */
  released: string | null;
  /** what is wrong with the system's key repeat, without which no key is known to be held */
  repeatTrouble: RepeatTrouble | null;
  /** there and back, ms */
  echo: number | null;
  /** from the host's receiving to the control step that used it, ms */
  applied: number | null;
}

export interface DriverParts {
  socket: (handlers: SocketHandlers) => Pick<LiveSocket, "start" | "stop" | "send" | "up" | "waiting">;
  ticker: MakeTicker;
  /** ms, on the clock of event.timeStamp */
  now: () => number;
  /** whether the page is in front and has the keyboard */
  attended: () => boolean;
}

const REST: DriverView = {
  driving: false,
  supervising: false,
  connected: false,
  deadman: false,
  held: new Set(),
  arms: "left",
  speed: 0.5,
  refused: null,
  released: null,
  repeatTrouble: null,
  echo: null,
  applied: null,
};

export class Driver {
  private view = REST;
  private readonly keyboard = new Keyboard();
  private ticked = 0;
  private seq = 0;
  private epoch = 0;
  private policyActed = false;
  private starting = false;
  private restsSince: number | null = null;
  private measured: Pick<DriverView, "echo" | "applied"> = { echo: null, applied: null };
  private told = 0;
  private readonly socket: ReturnType<DriverParts["socket"]>;
  private ticker: Ticker | null = null;
  private readonly listeners = new Set<() => void>();
  /** the host has answered on this connection: it is ours */
  private answered = false;
  private waiting: (() => void)[] = [];

  constructor(private readonly parts: DriverParts) {
    this.socket = parts.socket({
      opened: () => this.opened(),
      text: (text) => this.heard(text),
      closed: (code, reason) => this.closed(code, reason),
    });
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): DriverView => this.view;

  // --- what people want -----------------------------------------------------------------------------------------

  /** Take the robot into the hand, or put it down. */
  setDriving(driving: boolean): void {
    if (!driving) this.release(null);
    this.set({ driving, refused: null, released: null });
    this.adjust();
  }

  /**
   * Supervise what `start` lets act: this page's pulse comes first, and ends again if nothing begins to act. A second
   * click, or a page that begins by itself what was just clicked, adds nothing to the start that is under way.
   */
  async superviseStart(start: () => Promise<unknown>): Promise<void> {
    if (this.starting) return;
    const before = this.view.supervising;
    this.starting = true;
    try {
      if (await this.supervise()) await start(); // why it cannot is in `refused`
    } catch {
      if (!before) this.endSupervision(); // a policy that acted before acts on
    } finally {
      this.starting = false;
    }
  }

  /** Supervise a policy from now on. Resolves when the robot's host answers: with whether this page has the robot. */
  private async supervise(): Promise<boolean> {
    this.policyActed = false;
    this.restsSince = null;
    this.set({ supervising: true, refused: null });
    this.adjust();
    if (!this.answered) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return this.answered && this.view.supervising;
  }

  endSupervision(): void {
    this.set({ supervising: false });
    this.adjust();
  }

  choose(arms: Arms): void {
    this.set({ arms, held: new Set() });
  }

  setSpeed(speed: number): void {
    this.set({ speed });
  }

  /** Hold the dead-man. Keys that were down before have to be pressed again. */
  hold(): void {
    if (!this.view.driving || this.view.deadman || !this.view.connected || !this.parts.attended()) return;
    this.ticked = this.parts.now();
    this.set({ deadman: true, held: new Set(), refused: null, released: null });
    this.send();
  }

  /**
   * The keyboard told of a key, whoever it is for, at a time (ms). What was overdue by then is let go first. Says whether
   * somebody pressed it just now, whatever the browser makes of it (`repeat`).
   */
  keyDown(code: string, at: number, repeat: boolean): boolean {
    this.prove(at);
    return this.keyboard.down(code, at, repeat);
  }

  keyUp(code: string, at: number): void {
    this.prove(at);
    const newest = this.keyboard.up(code, at);
    this.lift(code);
    if (newest) this.liftRest();
  }

  /** Something may have taken the keyboard, so that it does not tell of us any more. */
  loseKeyboard(why: string | null): void {
    this.keyboard.forget();
    this.release(why);
  }

  /** Let the dead-man go and forget all keys; the robot hears it at once. `why`: if nobody meant to. */
  release(why: string | null): void {
    if (!this.view.deadman) {
      if (this.view.held.size > 0) this.set({ held: new Set() });
      return;
    }
    this.set({ deadman: false, held: new Set(), released: why });
    this.send();
  }

  press(code: string): void {
    if (!this.view.deadman || this.view.held.has(code)) return;
    this.set({ held: new Set(this.view.held).add(code) });
    this.send();
  }

  private lift(code: string): void {
    if (!this.view.held.has(code)) return;
    const held = new Set(this.view.held);
    held.delete(code);
    this.set({ held });
    this.send();
  }

  /** The key that the system repeated went up, and no sign will come of the others: they count as lifted too. */
  private liftRest(): void {
    if (this.view.held.size === 0) return;
    this.set({ held: new Set(), released: "A lifted key ends the signs of those pressed before it." });
    this.send();
  }

  /** The page went out of sight: nobody watches, nobody drives. */
  hide(): void {
    this.release("The page was hidden.");
    this.set({ supervising: false });
    this.adjust();
  }

  end(): void {
    this.release(null);
    this.set({ driving: false, supervising: false });
    this.adjust();
    this.ticker?.end();
    this.ticker = null;
  }

  // --- what the robot says --------------------------------------------------------------------------------------

  /** Each new state. A stop, a re-arming or a fault lets the dead-man go: it must be pressed anew. */
  follow({ status, mode }: Status): void {
    if (status.epoch !== this.epoch || status.state !== "holding") {
      this.release(null);
      this.epoch = status.epoch;
    }
    if (!this.view.supervising) return;
    if (mode === "policy") {
      this.policyActed = true;
      this.restsSince = null;
    } else if (this.policyActed && !this.starting) {
      this.restsSince ??= this.parts.now();
      if (this.parts.now() - this.restsSince >= OVERTAKEN_MS) this.endSupervision(); // whoever resumes it supervises anew
    }
  }

  private opened(): void {
    this.seq = 0;
    this.measured = { echo: null, applied: null };
    this.set({ connected: true });
    this.send();
  }

  private closed(code: number, reason: string): void {
    this.answered = false;
    this.set({
      connected: false,
      deadman: false,
      held: new Set(),
      echo: null,
      applied: null,
      released: this.view.deadman ? "The connection was lost." : this.view.released,
      refused: reason === "" ? this.view.refused : { code: "busy", message: reason },
    });
    if (code >= REFUSED) {
      // held by another page, or not allowed: asking again would only take it from each other
      this.set({ driving: false, supervising: false });
      this.adjust();
    }
  }

  private settle(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  private heard(text: string): void {
    const message = JSON.parse(text) as Echo | Refusal;
    if (message.type === "echo") {
      this.answered = true;
      this.settle();
      this.measure(message);
    } else if (!PASSING.has(message.code) && (this.view.deadman || this.view.supervising)) {
      this.set({ refused: { code: message.code, message: message.message } });
    }
  }

  private measure({ sent, applied }: Echo): void {
    const smooth = (old: number | null, fresh: number) => (old === null ? fresh : old + SMOOTHING * (fresh - old));
    const now = this.parts.now();
    this.measured = {
      echo: smooth(this.measured.echo, now - sent),
      applied: applied === null ? this.measured.applied : smooth(this.measured.applied, applied),
    };
    if (now - this.told < TELL_MS) return;
    this.told = now;
    this.set(this.measured);
  }

  // --- sending --------------------------------------------------------------------------------------------------

  private adjust(): void {
    const { driving, supervising } = this.view;
    if (driving || supervising) {
      this.socket.start();
      this.ticker ??= this.parts.ticker(() => this.tick());
      this.ticked = this.parts.now();
      this.ticker.every(driving ? DRIVE_MS : PULSE_MS);
    } else {
      this.socket.stop();
      this.answered = false;
      this.ticker?.every(0);
      this.set({ connected: false, echo: null, applied: null });
      this.settle();
    }
  }

  private tick(): void {
    const now = this.parts.now();
    this.prove(now);
    this.ticked = now;
    if (this.keyboard.trouble !== this.view.repeatTrouble) this.set({ repeatTrouble: this.keyboard.trouble });
    this.send();
  }

  /** A dead-man counts while the page is awake and in front, keys while the keyboard speaks for them. */
  private prove(at: number): void {
    if (!this.view.deadman) return;
    if (this.parts.now() - this.ticked > GAP_MS) this.release("The page was held up or asleep.");
    else if (!this.parts.attended()) this.release("The page lost the keyboard.");
    else if (this.view.held.size > 0 && at > this.keyboard.until)
      this.release("The keyboard gave no more sign of a held key.");
  }

  private send(): void {
    const { driving, supervising, deadman, held, arms, speed } = this.view;
    if (!this.socket.up || this.socket.waiting > MOST_WAITING_BYTES || !(driving || supervising)) return;
    const common = { seq: (this.seq += 1), sent: this.parts.now(), epoch: this.epoch };
    const message: Drive | Pulse =
      driving && !supervising
        ? {
            type: "drive",
            ...common,
            deadman,
            evidence_ms: this.evidence(common.sent),
            ...twists(deadman ? held : new Set(), arms, speed),
          }
        : { type: "pulse", ...common };
    this.socket.send(message);
  }

  /** Age of the newest sign of a hand, ms; null before the first. */
  private evidence(now: number): number | null {
    const age = now - this.keyboard.lastSign;
    return Number.isFinite(age) ? Math.max(0, age) : null;
  }

  private set(change: Partial<DriverView>): void {
    this.view = { ...this.view, ...change };
    for (const listener of this.listeners) listener();
  }
}
