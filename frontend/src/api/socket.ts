/** A WebSocket that comes back by itself. */

export interface SocketHandlers {
  opened?: () => void;
  text?: (text: string) => void;
  binary?: (data: ArrayBuffer) => void;
  /** lost, or not reached: `reason` for people if the server gave one, `code` as it closed */
  closed?: (code: number, reason: string) => void;
}

/** What of a WebSocket is used here. */
export type Wire = Pick<
  WebSocket,
  "binaryType" | "bufferedAmount" | "readyState" | "onopen" | "onmessage" | "onclose" | "send" | "close"
>;

export type Connect = (url: string) => Wire;

export interface SocketOptions {
  /** milliseconds before the next try, after so many failures without a message in between, the last with this code */
  pause: (failures: number, code: number) => number;
  /** a socket that brings nothing for so many milliseconds is dead; left out: it may be silent */
  silence?: number;
  connect?: Connect;
}

const OPEN = 1;
const DEAD = 1006; // what a browser says of a connection that ended without a word

export class ReconnectingSocket {
  private wire: Wire | null = null;
  private wanted = false;
  private failures = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private silent: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string,
    private readonly handlers: SocketHandlers,
    private readonly options: SocketOptions,
  ) {}

  /** Open it, and again whenever it is lost, until `stop`. */
  start(): void {
    if (this.wanted) return;
    this.wanted = true;
    this.open();
  }

  stop(): void {
    this.wanted = false;
    this.failures = 0;
    clearTimeout(this.retry);
    clearTimeout(this.silent);
    const wire = this.wire;
    this.wire = null;
    wire?.close();
  }

  /** Close and open at once: what it brought so far was not what is needed. */
  again(): void {
    if (!this.wanted) return;
    this.stop();
    this.start();
  }

  /** Do not wait for the next try. */
  now(): void {
    if (!this.wanted || this.wire !== null) return;
    clearTimeout(this.retry);
    this.open();
  }

  get up(): boolean {
    return this.wire?.readyState === OPEN;
  }

  /** Bytes that were sent and have not left the browser yet. */
  get waiting(): number {
    return this.wire?.bufferedAmount ?? 0;
  }

  /** Whether it could be sent. */
  send(message: object): boolean {
    if (!this.wire || !this.up) return false;
    this.wire.send(JSON.stringify(message));
    return true;
  }

  private open(): void {
    const wire = (this.options.connect ?? ((url: string) => new WebSocket(url)))(this.url);
    this.wire = wire;
    wire.binaryType = "arraybuffer";
    this.listen(wire);
    wire.onopen = () => {
      if (this.wire !== wire) return;
      this.handlers.opened?.();
    };
    wire.onmessage = (message: MessageEvent) => {
      if (this.wire !== wire) return;
      this.failures = 0; // an open socket alone says nothing: it may be closed next with the reason of a refusal
      this.listen(wire);
      const data: unknown = message.data;
      if (data instanceof ArrayBuffer) this.handlers.binary?.(data);
      else this.handlers.text?.(String(data));
    };
    wire.onclose = ({ code, reason }: CloseEvent) => this.lost(wire, code, reason);
  }

  private lost(wire: Wire, code: number, reason: string): void {
    if (this.wire !== wire) return;
    this.wire = null;
    clearTimeout(this.silent);
    this.failures += 1;
    this.retry = setTimeout(() => this.open(), this.options.pause(this.failures, code));
    this.handlers.closed?.(code, reason);
  }

  private listen(wire: Wire): void {
    if (this.options.silence === undefined) return;
    clearTimeout(this.silent);
    this.silent = setTimeout(() => {
      if (this.wire !== wire) return;
      this.lost(wire, DEAD, "");
      wire.close();
    }, this.options.silence);
  }
}
