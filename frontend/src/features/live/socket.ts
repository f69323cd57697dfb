/** A WebSocket that comes back by itself, for the three sockets of a live robot. */

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

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4_000;
/** Below: the network or a restart. From here on the server says no, and will again: it is asked rarely. */
const REFUSED = 4400;
const OPEN = 1;

/** What this page calls itself, so that it gets the robot back when its connection was lost. */
const PAGE = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join(
  "",
);

/** Where a socket of the robot is. */
export function socketUrl(robot: string, kind: "state" | "video" | "control"): string {
  const { protocol, host } = window.location;
  const path = `/api/live/${encodeURIComponent(robot)}/${kind}`;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${path}?page=${PAGE}`;
}

export class LiveSocket {
  private wire: Wire | null = null;
  private wanted = false;
  private failures = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string,
    private readonly handlers: SocketHandlers,
    private readonly connect: Connect = (url) => new WebSocket(url),
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
    const wire = this.connect(this.url);
    this.wire = wire;
    wire.binaryType = "arraybuffer";
    wire.onopen = () => {
      if (this.wire !== wire) return;
      this.handlers.opened?.();
    };
    wire.onmessage = (message: MessageEvent) => {
      if (this.wire !== wire) return;
      this.failures = 0; // an open socket alone says nothing: it may be closed next with the reason of a refusal
      const data: unknown = message.data;
      if (data instanceof ArrayBuffer) this.handlers.binary?.(data);
      else this.handlers.text?.(String(data));
    };
    wire.onclose = ({ code, reason }: CloseEvent) => {
      if (this.wire !== wire) return;
      this.wire = null;
      this.failures += 1;
      const pause = code >= REFUSED ? LONGEST_RETRY_MS : FIRST_RETRY_MS * 2 ** (this.failures - 1);
      this.retry = setTimeout(() => this.open(), Math.min(LONGEST_RETRY_MS, pause));
      this.handlers.closed?.(code, reason);
    };
  }
}
